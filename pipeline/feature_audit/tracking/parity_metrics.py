"""A parity result as MLflow metrics for charts and thresholds: ``parity/<metric>[@<slice>].delta`` and interval."""

from __future__ import annotations

import re
from collections.abc import Iterable

from feature_audit.results import MetricDelta

#: MLflow's limit is 250 characters per name; the longest suffix needs some of them.
_MOST_CHARACTERS = 220


def parity_metrics(deltas: Iterable[MetricDelta]) -> dict[str, float]:
    """``parity/auc.delta``, ``.ci_low`` and ``.ci_high`` of every metric, ``parity/auc_at_country:NL.delta`` of slices.

    MLflow allows only letters, digits, spaces and ``_-.:/`` in names: ``@`` is written ``_at_``, ``column = value``
    becomes ``column:value``, and other characters become underscores. Names that would collide are numbered. With
    several targets, rows of all but the decision target are named ``parity/convert.auc.delta``.
    """
    values: dict[str, float] = {}
    deltas = list(deltas)
    for row in deltas:
        where = "" if row.slice == "all" else f"@{row.slice.replace(' = ', ':', 1)}"
        name = unused = metric_of(row, deltas[0].target, where)
        number = 1
        while f"parity/{unused}.delta" in values:
            number += 1
            unused = f"{name}_{number}"
        for part in ("delta", "ci_low", "ci_high"):
            values[f"parity/{unused}.{part}"] = float(getattr(row, part))
    return values


def metric_of(row: MetricDelta, decision: str, where: str = "") -> str:
    """The part of a metric's name that identifies what was measured.

    Args:
        row: row of the report.
        decision: name of the decision target, which is omitted.
        where: suffix for a slice.
    """
    return legal_name((f"{row.target}." if row.target not in ("", decision) else "") + row.metric + where)


def legal_name(text: str) -> str:
    """A text as part of a metric's name: without characters that MLflow refuses, and without slashes."""
    name = re.sub(r"[^\w.\- :]", "_", text.replace("@", "_at_"))
    return re.sub(r"\s+", " ", name)[:_MOST_CHARACTERS].strip()
