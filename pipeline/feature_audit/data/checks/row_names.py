"""Columns that identify rows: such a value does not generalise to other rows, and only the user can tell if it is
wanted.

Values that are distinct for another reason do not identify rows: continuous numbers, times, and text that holds a
price, a date or a list in a form that was not recognised. For such text, the finding asks what it is.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from feature_audit.data.columns.casting import as_float
from feature_audit.data.columns.dates import moments_of
from feature_audit.data.columns.kinds import is_id_name
from feature_audit.data.table.statistics import Statistics
from feature_audit.findings import Finding
from feature_audit.schema import Column

#: Share of distinct values from which a category identifies rows, and the minimum number of rows to test.
ID_SHARE = 0.5
MIN_ROWS = 20
#: Share of cells that must look like a number, a date or a list, and the number of cells tested.
MOST = 0.95
_CELLS = 5_000

_SIGNED = r"^[^\pL]*\d[^\pL]*$"  # digits and signs without a letter: 12,000.50 or 2014-10-21 or 50 %
_DIGITS = r"^\s*\d+\s*$"  # digits only: a code
# With a unit and a decimal mark, or a space between the two: EUR 12.50, 1.5km, 80 km; but not t123 or 12B.
_UNIT = r"^\pL{0,4}\.?\s?[-+]?\d[\d.,' ]*[.,]\d+\s?\pL{0,4}\.?$|^\d[\d ]*\s\pL{1,4}\.?$|^\pL{2,4}\s\d[\d ]*$"
_MONTH = r"(?i)^[\d\s,.:/-]*\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b.*\d"
_BETWEEN = r"[\s,;|^~/>\[\]]+"


def row_names(columns: tuple[Column, ...], statistics: Statistics) -> list[Finding]:
    """Findings ``id_like`` on columns that identify rows, and questions (``other``) on text that may hold something
    else.

    Args:
        columns: the features.
        statistics: pass 1, with the train sample.
    """
    sample = statistics.samples["train"]
    findings = []
    for column in columns:
        if column.kind not in ("categorical", "numeric"):
            continue
        values = sample[column.name].drop_nulls()
        if len(values) < MIN_ROWS:
            continue
        if column.kind == "numeric":
            if _numbers_rows(column, values):
                findings.append(Finding(column.name, "id_like", _advice(1.0)))
            continue
        distinct = values.n_unique() / len(values)
        if distinct < ID_SHARE:
            continue
        text = values.cast(pl.String).str.strip_chars()
        if _holds_more(text.head(_CELLS)):
            detail = (
                f"{distinct:.0%} of its values are distinct, such as {text[0][:40]!r}; if they are numbers, dates or "
                f"lists, set kinds: {{{column.name}: numeric}}, datetime or multi; if they identify rows, exclude it"
            )
            findings.append(Finding(column.name, "other", detail))
        else:
            findings.append(Finding(column.name, "id_like", _advice(distinct)))
    return findings


def _advice(distinct: float) -> str:
    what = "it identifies rows" if distinct >= MOST else "most of them occur in a single row"
    return f"{distinct:.0%} of its values are distinct: {what}; exclude it unless this is intended"


def _holds_more(text: pl.Series) -> bool:
    """True for text that looks like numbers, dates or lists; False for codes and names of one part."""
    read = text.str.contains(_SIGNED) & ~text.str.contains(_DIGITS) | text.str.contains(f"{_UNIT}|{_MONTH}")
    if int(read.sum()) >= MOST * len(text):
        return True
    parts = text.str.replace_all(_BETWEEN, " ").str.strip_chars().str.split(" ")
    entries = parts.list.explode(empty_as_null=False)
    return int((parts.list.len() > 1).sum()) >= 0.5 * len(text) and entries.n_unique() < 0.5 * len(entries)


def _numbers_rows(column: Column, values: pl.Series) -> bool:
    """True for whole numbers that number the rows: all distinct, although as many random draws would repeat.

    Of n draws from a range of r, about n * n / 2r pairs are equal by chance; if seven are expected, none occurs with
    p < 0.001.
    """
    numbers = as_float(values)
    if not (np.isfinite(numbers).all() and (numbers % 1 == 0).all()):
        return False
    gaps = float(np.ptp(numbers)) + 1
    likely = is_id_name(column.name) or len(numbers) ** 2 >= 14 * gaps
    if gaps < len(numbers) or not likely or values.n_unique() < len(numbers):
        return False
    return moments_of(column, values, None, {"any": numbers}) is None  # event times are rarely equal
