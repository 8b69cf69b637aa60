"""Types of text columns: counts of the cells that parse as each type, and the decision."""

from __future__ import annotations

import fnmatch

import polars as pl

from feature_audit.config.sections import ReaderConfig
from feature_audit.data.columns.moments import MOST, is_date, other_order, text_moment
from feature_audit.errors import AuditError
from feature_audit.labels import NULL_WORDS

#: Maximum share of cells that may fail to parse as a type set by the user.
MOST_LOST = 0.5
_NUMBERS = {"integer": pl.Int64, "unsigned": pl.UInt64, "float": pl.Float64}
#: The cells of each type, in messages.
_MEANT = {
    "integer": "whole numbers",
    "unsigned": "whole numbers",
    "float": "numbers",
    "boolean": "true or false",
    "datetime": "dates",
}

#: Counts of one column: all cells, and those that parse as each type or datetime format.
Facts = dict[str, int]


def set_type(name: str, reader: ReaderConfig) -> str | None:
    """The type set by ``reader.types``, or None."""
    return next((kind for glob, kind in reader.types.items() if fnmatch.fnmatchcase(name, glob)), None)


def held_words(name: str) -> pl.Expr:
    """The stripped words of a text column; texts that mean missing become null."""
    word = pl.col(name).str.strip_chars()
    return pl.when(word.is_in(list(NULL_WORDS))).then(None).otherwise(word).alias(name)


def type_facts(name: str, formats: tuple[str, ...]) -> pl.Expr:
    """Counts for one text column, as a struct."""
    held = held_words(name)
    number = held.cast(pl.Float64, strict=False)
    whole = held.str.contains(r"^[-+]?\d+$")
    return pl.struct(
        held.count().alias("held"),
        held.cast(pl.Int64, strict=False).count().alias("integer"),
        held.cast(pl.UInt64, strict=False).count().alias("unsigned"),
        number.count().alias("float"),
        whole.sum().alias("whole"),
        (whole & (number.abs() > 2**53)).sum().alias("long"),
        (number.is_null() & held.str.contains(r"\d")).sum().alias("written"),
        held.str.to_lowercase().is_in(["true", "false"]).sum().alias("boolean"),
        held.str.contains(r"^0\d+$").sum().alias("padded"),
        held.str.contains("\ufffd", literal=True).sum().alias("undecoded"),
        *(is_date(held, pattern).sum().alias(pattern) for pattern in formats),
    ).alias(name)


def typed(name: str, facts: Facts, reader: ReaderConfig, notes: list[str]) -> pl.Expr:
    """The text column cast to its decided type; ``reader.types`` takes precedence.

    Args:
        name: the column.
        facts: its counts over all files.
        reader: types set by the user.
        notes: receives the decisions to report.

    Raises:
        AuditError: most cells do not parse as the type set by the user.
    """
    given = set_type(name, reader)
    kind, pattern = _decide(facts) if given is None else (given, None)
    if facts["undecoded"]:
        notes.append(
            f"{name}: {facts['undecoded']} of {facts['held']} cells are not UTF-8, so their other characters are all "
            "replaced by the same one; write the file as UTF-8"
        )
    if kind == "string":
        return pl.col(name)
    if kind == "datetime" and pattern is None:
        formats = [key for key in facts if "%" in key]
        pattern = max(formats, key=lambda form: facts[form], default=None)
        if pattern is None:
            raise AuditError(
                f"reader.types.{name}=datetime: its cells do not match any known datetime format; give ISO dates"
            )
    lost = facts["held"] - facts[pattern or kind]
    if lost > MOST_LOST * facts["held"]:
        raise AuditError(
            f"reader.types.{name}={kind}: {lost} of {facts['held']} cells cannot be read as {kind}; give string, or "
            "fix the column"
        )
    if lost:
        notes.append(f"{name}: {lost} of {facts['held']} cells are not {_MEANT[kind]} and are treated as missing")
    word = pl.col(name).str.strip_chars()
    if kind == "boolean":
        truth = {"true": True, "false": False}
        return word.str.to_lowercase().replace_strict(truth, default=None, return_dtype=pl.Boolean).alias(name)
    if pattern is not None:
        other = other_order(pattern)
        if other is not None and facts.get(other) == facts[pattern]:
            order = ("day", "month") if pattern.startswith("%d") else ("month", "day")
            notes.append(
                f"{name}: dates are read with the {order[0]} first, but all of them could also have the {order[1]} "
                "first; if they do, write them as ISO dates (2026-01-31)"
            )
        return text_moment(word, pattern).alias(name)
    return word.cast(_NUMBERS[kind], strict=False).alias(name)


def _decide(facts: Facts) -> tuple[str, str | None]:
    """The narrowest type that fits (nearly) every cell; text if none fits."""
    held = facts["held"]
    if held == 0 or facts["padded"]:  # 00123 is a code, not a number
        return "string", None
    if facts["boolean"] == held:
        return "boolean", None
    whole = next((kind for kind in ("integer", "unsigned") if facts[kind] == held), None)
    if whole is not None:
        return whole, None
    if facts["float"] >= MOST * held:
        if facts["whole"] < facts["float"]:
            # "12,000" among plain numbers: one form for the whole column is found later.
            return ("string" if facts["written"] else "float"), None
        return ("string" if facts["written"] or facts["long"] else "integer"), None  # a float would merge long codes
    pattern = next((key for key in facts if "%" in key and facts[key] >= MOST * held), None)
    return ("datetime", pattern) if pattern else ("string", None)
