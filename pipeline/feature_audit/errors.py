"""What a user's mistake looks like: one line with key, value and remedy.

The command line prints ``str(error)`` on stderr without a traceback and exits with ``error.exit_code``.
Anything that is not an ``AuditError`` is a bug of ours and keeps its traceback.
"""


class AuditError(Exception):
    """A mistake in the data or the environment, found while the audit runs (exit code 1)."""

    exit_code = 1


class UsageError(AuditError):
    """A mistake in a parameter, found before any work is done (exit code 2)."""

    exit_code = 2
