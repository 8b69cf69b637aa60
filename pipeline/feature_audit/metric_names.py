"""Metric names: as configured, with their only parser, and as people read them."""

from __future__ import annotations

import difflib
import re

from feature_audit.errors import UsageError

METRIC_NAMES: dict[str, tuple[str, ...]] = {
    "binary": ("auc", "logloss", "normalised_entropy", "calibration", "gauc", "ndcg"),
    "regression": ("r2", "rmse", "mae"),
    "multiclass": ("accuracy", "logloss"),
}

#: Display names, where they are more than the configured name with spaces.
_TITLES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "ndcg": "NDCG@10",
    "logloss": "log loss",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
}


def metric_name(metric: str) -> str:
    """Display name of a metric: ``AUC``, ``log loss``, ``NDCG@5``."""
    base, at, depth = metric.partition("@")
    return f"{base.upper()}@{depth}" if at else _TITLES.get(base, base.replace("_", " "))


def parse_metric(name: str, task: str | None = None, *, key: str = "metric") -> tuple[str, int | None]:
    """Split a name into metric and cut-off: ``ndcg@5`` is ``("ndcg", 5)``; the cut-off is None if not given.

    Args:
        name: as configured, in lower case.
        task: the task it must fit; None = any, if only the data will determine the task.
        key: configuration key, for messages.

    Raises:
        UsageError: an unknown metric, a metric of another task, or an invalid cut-off.
    """
    base, at, depth = name.partition("@")
    known = METRIC_NAMES[task] if task else sorted({each for names in METRIC_NAMES.values() for each in names})
    if base not in known:
        raise UsageError(_unknown(f"{key}={name}", base, task, known))
    if at and base != "ndcg":
        raise UsageError(f"{key}={name}: only ndcg takes a cut-off; give {key}={base}")
    if at and not re.fullmatch(r"[1-9][0-9]{0,8}", depth):
        raise UsageError(
            f"{key}={name}: the cut-off must be a whole number of 1 to 9 digits, at least 1; give one such as ndcg@5"
        )
    return base, int(depth) if at else None


def _unknown(shown: str, base: str, task: str | None, known: tuple[str, ...] | list[str]) -> str:
    if task:
        return f"{shown} does not fit task={task}; choose {', '.join(known)}"
    choice = "choose " + "; ".join(f"{', '.join(names)} (task={of})" for of, names in METRIC_NAMES.items())
    near = difflib.get_close_matches(base, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{shown}: unknown; {hint}{choice}"
