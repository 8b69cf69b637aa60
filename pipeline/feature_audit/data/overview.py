"""Summary of a table in sentences: sizes, kinds, and columns that look like keys or could be misread."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from feature_audit.config import AuditConfig
from feature_audit.data.columns.kinds import is_moment
from feature_audit.data.columns.written_numbers import Form, held_words, units_of, words_among_numbers
from feature_audit.data.messages import listing
from feature_audit.plurals import counted
from feature_audit.schema import Column, Kind

#: Maximum number of lines on single columns after load; the others are counted.
MOST_LINES = 10
#: Maximum number of columns in an example of ``kinds``.
MOST_PAIRS = 3
_GROUP_NAME = re.compile(
    r"(?i)(^|[_\s.-])(user|customer|client|member|visitor|viewer|session|patient|household|account|buyer|guest|player|"
    r"subscriber|shopper|cookie)s?([_\s.-]?(id|code|key|no|number|nr))?$|^uid$"
)
_WEIGHT_NAME = re.compile(r"(?i)(^|_)weights?$")
_SPLITS = {"train", "training", "valid", "validation", "val", "dev", "test"}
_NAMES: dict[Kind, tuple[str, str]] = {
    "numeric": ("numeric", "numeric"), "categorical": ("category", "categories"), "boolean": ("boolean", "booleans"),
    "multi": ("list", "lists"), "vector": ("vector", "vectors"), "datetime": ("date", "dates"),
}  # fmt: skip


def looks_like(config: AuditConfig, columns: tuple[Column, ...], shown: pl.DataFrame) -> list[str]:
    """Features that look like a key that is not configured: "`ts` looks like a time (time=ts)"."""
    found: dict[str, str] = {}
    for column in columns:
        name, cells = column.name, shown[column.name]
        whole = cells.dtype.is_integer()
        if column.kind == "datetime" or (whole and is_moment(name, cells)):
            role = "time"
        elif column.kind == "categorical" and _is_split(cells):
            role = "split"
        elif (
            column.kind in ("categorical", "numeric") and _GROUP_NAME.search(name) and 2 < cells.n_unique() < len(cells)
        ):
            role = "group"
        elif cells.dtype.is_numeric() and _WEIGHT_NAME.search(name):
            role = "weight"
        else:
            continue
        given = getattr(config, role) is not None or (role == "weight" and config.negative_sampling is not None)
        if not given and not (role == "split" and config.time):
            found.setdefault(role, name)
    doubt = {"weight": " unless it is a feature"}
    return [f"`{name}` looks like a {role} ({role}={name}{doubt.get(role, '')})" for role, name in found.items()]


def _is_split(cells: pl.Series) -> bool:
    if cells.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return False
    words = set(cells.cast(pl.String).drop_nulls().str.strip_chars().str.to_lowercase().unique().to_list())
    return len(words) > 1 and words <= _SPLITS


def unsure_integers(columns: tuple[Column, ...], doubtful: Collection[str]) -> list[str]:
    """Ambiguous columns of whole numbers, one line per reading, with the key that changes it.

    Args:
        columns: with their kinds.
        doubtful: names of the ambiguous columns.
    """
    lines = []
    for kind, other, one, several in (
        ("numeric", "categorical", ("a quantity", "it is a code"), ("quantities", "they are codes")),
        ("categorical", "numeric", ("a category", "its order matters"), ("categories", "their order matters")),
    ):
        names = [column.name for column in columns if column.kind == kind and column.name in doubtful]
        if names:
            read, condition = several if len(names) > 1 else one
            head = "columns are" if len(names) > 1 else "column is"
            pairs = [f"{name}: {other}" for name in names[:MOST_PAIRS]] + ["..."] * (len(names) > MOST_PAIRS)
            lines.append(
                f"{len(names)} integer {head} read as {read} ({listing(names, MOST_LINES)}); if {condition}, set "
                f"kinds: {{{', '.join(pairs)}}}"
            )
    return lines


def unsure_text(
    columns: tuple[Column, ...], shown: pl.DataFrame, forms: Mapping[str, Form], given: Collection[str]
) -> list[str]:
    """Text numbers that could be misread, one line per column.

    Args:
        columns: with their kinds.
        shown: some rows, before parsing.
        forms: forms of the formatted numbers.
        given: columns whose kind the user set.
    """
    unsure = []
    for column in columns:
        name = column.name
        form = forms.get(name)
        if form is not None and form.ambiguous:
            words = held_words(shown[name])
            example = words.filter(words.str.contains(","))[0]
            unsure.append(
                f"{name}: '{example}' is read as {form.read(pl.Series([example]))[0]:.10g}; if the comma is a decimal "
                "separator, use a decimal point instead"
            )
        elif column.kind == "categorical" and name not in given and shown[name].dtype == pl.String:
            words = held_words(shown[name])
            units = units_of(words)
            share, others = words_among_numbers(words)
            if units:
                unsure.append(
                    f"{name}: numbers in several units ({', '.join(units)}) read as categories; convert them to one "
                    f"unit, or confirm with kinds: {{{name}: categorical}}"
                )
            elif others:
                unsure.append(
                    f"{name}: {share:.0%} of its cells are numbers, the others are {listing(others)}, so it is read as "
                    f"categories; if the words mean that there is none, set kinds: {{{name}: numeric}}"
                )
    return unsure


def _labels(name: str, target: Mapping[str, Any], rows: int) -> str:
    """Number of labelled rows of a further target, and the mean of its label."""
    held = sum(target["labels"].values())
    of = "" if held == rows else f" of {held:,} labelled rows"
    if "positives_share" in target:
        return f"{name}: {100 * target['positives_share']:.3g} % positive{of}"
    return f"{name}: {target['mean']:.4g} on average{of}"


def overview(summary: Mapping[str, Any], split: str, features: Mapping[Kind, int]) -> list[str]:
    """Lines for the terminal.

    Args:
        summary: ``Prepared.summary``.
        split: how the rows were split.
        features: kind -> usable features of it.
    """
    seen = {kind: features.get(kind, 0) for kind in _NAMES}
    kinds = ", ".join(f"{count} {_NAMES[kind][count > 1]}" for kind, count in seen.items() if count)
    share, classes = summary["positives_share"], summary["classes"]
    task = f"{len(classes)} classes ({listing(classes)})" if summary["task"] == "multiclass" else summary["task"]
    parts = [f"{summary['rows']:,} rows", f"{counted(sum(features.values()), 'feature')} ({kinds})"]
    parts += [f"{100 * share:.3g} % positive"] if share is not None else [task]
    if "weighted_by" in summary:
        by_weight = summary.get("positives_share_by_weight")
        parts[-1] += "" if by_weight is None else f", {100 * by_weight:.3g} % by weight"
        rows = ", ".join(f"{name} {count:,.0f}" for name, count in summary["effective_rows"].items())
        parts.append(f"{summary['weighted_by']} (effective sample size: {rows})")
    parts += [_labels(name, one, summary["rows"]) for name, one in summary.get("targets", {}).items()]
    first = f"{', '.join(parts)}, split {split}"
    lines = ["; ".join([first, ", ".join(summary["looks_like"])] if summary["looks_like"] else [first])]
    lines += summary["unsure"][:MOST_LINES]
    rest = len(summary["unsure"]) - MOST_LINES
    if rest > 0:
        lines.append(f"{rest} more columns could be read in another way; see data/schema.yaml for their kinds")
    return lines
