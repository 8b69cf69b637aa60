"""Feature Audit: which of our N features can production drop, and what is the evidence?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feature_audit.api import Audit, audit, parity
    from feature_audit.errors import AuditError, UsageError

__version__ = "0.2.0"

__all__ = ["Audit", "AuditError", "UsageError", "__version__", "audit", "parity"]


def __getattr__(name: str) -> Any:
    """What ``__all__`` names, imported when it is asked for: the command line starts without Polars and torch."""
    if name in ("Audit", "audit", "parity"):
        from feature_audit import api

        return getattr(api, name)
    if name in ("AuditError", "UsageError"):
        from feature_audit import errors

        return getattr(errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
