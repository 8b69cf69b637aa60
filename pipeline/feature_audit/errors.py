"""How user errors are reported: one line with key, value and remedy.

The command line prints ``str(error)`` on stderr without a traceback and exits with ``error.exit_code``.
Other errors (a bug, a user's model, a library) are also reported in one line; ``feature-audit -v`` shows the traceback.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

#: Longest word and longest message in characters: a message may quote a cell or column name of any length.
_LONGEST_WORD, _LONGEST = 300, 3_000


def shortened(message: str) -> str:
    """A message as one line of readable length, with overlong words cut."""
    line = re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda word: f"{word[0][:100]}...", " ".join(message.split()))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


class AuditError(Exception):
    """A problem in the data or the environment, found while the audit runs (exit code 1)."""

    exit_code = 1


class UsageError(AuditError):
    """A mistake in a parameter, found before the log is opened (exit code 2)."""

    exit_code = 2


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM. It is not a ``SystemExit``, which inside an audit comes from user code."""


@contextmanager
def log_is_open() -> Iterator[None]:
    """From here on every error has exit code 1, including invalid parameters that only the data reveal.

    One rule for scripts that read exit codes: 2 = refused before reading any data; 1 = the audit started and failed.
    """
    try:
        yield
    except UsageError as error:
        raise AuditError(str(error)) from error
