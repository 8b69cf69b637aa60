"""What MLflow's charts and thresholds see of a parity result: ``parity/<metric>[@<slice>].delta`` and its interval."""

from __future__ import annotations

import re
from collections.abc import Iterable

from feature_audit.results import MetricDelta

#: MLflow takes names of at most 250 characters; the longest ending needs some of them.
_MOST_CHARACTERS = 220


def parity_metrics(deltas: Iterable[MetricDelta]) -> dict[str, float]:
    """``parity/auc.delta``, ``.ci_low`` and ``.ci_high`` of every metric, ``parity/auc_at_country:NL.delta`` of slices.

    MLflow's names hold letters, digits, spaces and ``_-.:/`` alone: ``@`` is written ``_at_``, ``column = value``
    becomes ``column:value``, and what is left is an underscore. Names that would be the same are numbered. Of several
    targets, all but the decision target's rows are named ``parity/convert.auc.delta``.
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
    """The part of a metric's name that says what was measured.

    Args:
        row: of the report.
        decision: name of the decision target, which is not repeated.
        where: ending for a slice.
    """
    return legal_name((f"{row.target}." if row.target not in ("", decision) else "") + row.metric + where)


def legal_name(text: str) -> str:
    """A text as a part of a metric's name: no sign that MLflow refuses, and no further folder."""
    name = re.sub(r"[^\w.\- :]", "_", text.replace("@", "_at_"))
    return re.sub(r"\s+", " ", name)[:_MOST_CHARACTERS].strip()
