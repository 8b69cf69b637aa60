"""What a user's mistake looks like: one line with key, value and remedy.

The command line prints ``str(error)`` on stderr without a traceback and exits with ``error.exit_code``.
Anything else (a bug of ours, a user's model, a library) is one line as well; ``feature-audit -v`` shows its traceback.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

#: Characters of one word of a message, and of all of it: a cell or a column name may have any number.
_LONGEST_WORD, _LONGEST = 300, 3_000


def shortened(message: str) -> str:
    """A message as one line whose words, and itself, have a length that people read."""
    line = re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda word: f"{word[0][:100]}...", " ".join(message.split()))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


class AuditError(Exception):
    """A mistake in the data or the environment, found while the audit runs (exit code 1)."""

    exit_code = 1


class UsageError(AuditError):
    """A mistake in a parameter, found before the log is opened (exit code 2)."""

    exit_code = 2


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM). A ``SystemExit`` inside an audit, then, comes from a user's code."""


@contextmanager
def log_is_open() -> Iterator[None]:
    """From here on every mistake is exit code 1, also a parameter's that only the data can show.

    One rule for scripts that read exit codes: 2 = refused at once, nothing was read; 1 = the audit began and failed.
    """
    try:
        yield
    except UsageError as error:
        raise AuditError(str(error)) from error
