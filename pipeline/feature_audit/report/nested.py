"""Formats nested mappings from the stages (data summary, trials, provenance) as names and texts for display."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from feature_audit.report import numbers
from feature_audit.report.as_json import to_plain
from feature_audit.results import AuditReport

#: Maximum number of entries of a nested mapping or list that are written out; the others are in ``report.json``.
MOST_ENTRIES = 20


def flat(mapping: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """``(dotted key, text)`` of a nested mapping, in order; large nested mappings are only counted."""
    return ((".".join(path), value) for path, value in _leaves(mapping))


def _leaves(mapping: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """``flat`` with separate keys, because a column name may contain a dot."""
    for key, value in mapping.items():
        name = (*above, str(key))
        if isinstance(value, Mapping) and value:
            if len(value) > MOST_ENTRIES:
                yield name, f"{numbers.count(len(value))} entries, in report.json"
            else:
                yield from _leaves(value, name)
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value[:MOST_ENTRIES], 1):
                yield (*name, str(number)), value_text(item)
        else:
            yield name, value_text(value)


def value_text(value: Any) -> str:
    """One value for display: counts with separators, floats with six digits, sequences and mappings with commas."""
    value = to_plain(value)
    text = str(value)
    if value is None:
        text = "not set"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float) and not value.is_integer():
        text = numbers.significant(value, 6)
    elif isinstance(value, (int, float)):
        text = numbers.count(value) if abs(value) >= 10_000 else f"{value:.0f}".replace("-", numbers.MINUS)
    elif isinstance(value, Mapping):
        text = ", ".join(f"{str(key).replace('_', ' ')} {value_text(item)}" for key, item in value.items())
    elif isinstance(value, list):
        text = ", ".join(value_text(item) for item in value[:MOST_ENTRIES])
        if len(value) > MOST_ENTRIES:
            text += f" and {numbers.count(len(value) - MOST_ENTRIES)} more"
    return text or "none"


def importances(report: AuditReport) -> list[tuple[str, float]]:
    """Importances of the search's settings, the largest first, unknown ones last."""
    return sorted(report.importances.items(), key=lambda item: -item[1] if numbers.known(item[1]) else 1.0)


def trial_columns(report: AuditReport) -> tuple[list[str], list[list[Any]]]:
    """The search's trials as a table: number, state and value first, then every setting that occurs in a trial."""
    names = list(dict.fromkeys(name for trial in report.trials for name in trial))
    first = [name for name in ("number", "state", "value", "k") if name in names]
    names = first + [name for name in names if name not in first]
    return names, [[trial.get(name) for name in names] for trial in report.trials]


def trial_text(value: Any) -> str:
    """One cell of the table of trials; four digits are enough for comparison."""
    if value is None:
        return ""
    return numbers.significant(value, 4) if isinstance(value, float) else value_text(value)


def summary(report: AuditReport) -> list[tuple[str, str]]:
    """The data's key figures in words; ``null_share: {item_id: ...}`` becomes ``share of missing cells, item_id``.

    Only the first key is translated; keys below it may be columns or classes, and are shown unchanged.
    """
    group = report.data_summary.get("group")
    words = {
        "rows": "rows",
        "columns": "candidate columns",
        "groups": f"resampling units (values of {group})" if group else "resampling units",
        "positives_share": "share of positive rows",
        "positives_share_by_weight": "weighted share of positive rows",
        "weighted_by": "weights",
        "effective_rows": "effective sample size",
        "target_per_split": "label",
        "null_share": "share of missing cells",
        "bytes_from": "bytes per row",
    }
    found = []
    for (first, *rest), value in _leaves({key: value for key, value in report.data_summary.items() if key != "group"}):
        found.append((", ".join([words.get(first, first.replace("_", " ")), *rest]), value))
    return found


def provenance(report: AuditReport) -> list[tuple[str, list[tuple[str, str]]]]:
    """``(title, pairs)``: single values together, then one block per nested mapping (versions, configuration...)."""
    single = {key: value for key, value in report.provenance.items() if not isinstance(value, Mapping)}
    blocks = [("Run", list(flat(single)))] if single else []
    for key, value in report.provenance.items():
        if isinstance(value, Mapping):
            title = str(key).replace("_", " ")
            blocks.append((title[:1].upper() + title[1:], list(flat(value))))
    return blocks
