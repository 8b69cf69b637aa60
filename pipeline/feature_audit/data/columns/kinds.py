"""Infers each column's *kind* from type, name and a sample; the user's globs take precedence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import polars as pl
import yaml

from feature_audit.config import AuditConfig
from feature_audit.data.columns.casting import BEYOND_FLOAT, as_key, is_whole
from feature_audit.data.columns.costs import read_costs
from feature_audit.data.columns.lists import fallback_format, is_vector, list_format
from feature_audit.data.columns.moments import MOST, likely_formats, number_format
from feature_audit.data.columns.roles import Roles, given_kind, match_globs
from feature_audit.data.columns.written_numbers import find_form, held_words
from feature_audit.errors import AuditError
from feature_audit.schema import Column, Kind

_TIME_NAME = re.compile(r"(?i)time|date|epoch|stamp|(^|[_\s.-])(ts|at|day|when)($|[_\s.-])|(?-i:[a-z]At$)")
#: Epoch seconds of 1990 and 2040, and units per second.
EPOCH = (631_152_000, 2_208_988_800)
PER_SECOND = (1, 10**3, 10**6, 10**9)
_CAMEL_ID = re.compile(r"[a-z](Id|ID|UUID)$")


def infer_columns(
    config: AuditConfig,
    roles: Roles,
    schema: Mapping[str, pl.DataType],
    sample: pl.DataFrame,
    origin: Mapping[str, str],
) -> tuple[tuple[Column, ...], dict[str, str], dict[str, float]]:
    """Name, kind, source table, protection and cost of every candidate column.

    Args:
        config: ``kinds``, ``groups`` and ``cost`` globs.
        roles: the candidates and which of them are protected.
        schema: column -> Polars type.
        sample: some rows of the candidates.
        origin: column -> source table, if the input names it.

    Returns:
        The columns, name -> reason for columns of unsupported types, and table costs.

    Raises:
        AuditError: a glob of ``kinds``, ``groups`` or ``cost`` matches no column, a column is in two groups, or a kind
            does not fit the column's type.
    """
    names = list(schema)
    for pattern in config.kinds:
        match_globs("kinds", [pattern], names)
    groups = {**origin, **group_of(config, names)}
    separators = _separators(config, schema, sample)
    costs = read_costs(config.cost, names, sorted({*config.groups, *origin.values()}))
    columns, unusable = [], {}
    for name in roles.candidates:
        kind = given_kind(config, name) or ("multi" if name in separators else None)
        if kind is None:
            kind = infer_kind(name, schema[name], sample[name])
        else:
            _check_kind(name, kind, schema[name])
        if kind is None:
            unusable[name] = f"type {schema[name]} is not supported; unnest or cast it"
            kind = "categorical"
        columns.append(
            Column(
                name, kind, str(schema[name]), groups.get(name),
                name in roles.protected, costs.of(name), name in roles.ruled_out,
                form_of(name, kind, sample[name], separators.get(name)),
            )
        )  # fmt: skip
    return tuple(columns), unusable, costs.tables


def group_of(config: AuditConfig, names: Sequence[str]) -> dict[str, str]:
    """Column -> its source table according to ``groups``.

    Raises:
        AuditError: a glob matches no column, or two tables claim a column.
    """
    groups: dict[str, str] = {}
    for table, globs in config.groups.items():
        for name in match_globs(f"groups.{table}", globs, names):
            if name in groups:
                raise AuditError(
                    f"groups.{table}: column {name} is also in groups.{groups[name]}; a column comes from one table, "
                    "so remove it from one of them"
                )
            groups[name] = table
    return groups


def infer_kind(name: str, dtype: pl.DataType, sample: pl.Series) -> Kind | None:
    """The kind of one column, or None if its type is not supported."""
    kind: Kind | None = None
    if dtype == pl.Boolean:
        kind = "boolean"
    elif dtype.is_numeric() and date_format(sample):
        kind = "datetime"
    elif dtype.is_numeric() and is_whole(sample):  # ids with gaps are floats
        kind = "categorical" if is_code(name, sample) and sample.n_unique() > 2 else "numeric"
    elif dtype.is_numeric() or dtype in (pl.Duration, pl.Time):
        kind = "numeric"
    elif dtype.is_temporal():
        kind = "datetime"
    elif isinstance(dtype, pl.List | pl.Array):
        kind = _list_kind(dtype, sample)
    elif dtype == pl.String:
        kind = _text_kind(sample)
    elif dtype in (pl.Categorical, pl.Enum, pl.Null):
        kind = "categorical"
    return kind


def is_id_name(name: str) -> bool:
    """True for names such as ``hotel_id``, ``userId``, ``uuid``, ``zip``."""
    return bool(
        re.search(r"(^|[_\s.-])(id|ids|uuid|guid|hash|zip|zipcode|postcode|sku)$", name, re.I) or _CAMEL_ID.search(name)
    )


def is_code(name: str, whole: pl.Series) -> bool:
    """True for whole numbers that are not a quantity: named like an id, or beyond float precision."""
    if is_id_name(name):
        return True
    if whole.dtype.is_float():  # every large float is whole
        return False
    if whole.dtype == pl.String:
        whole = whole.filter(whole.str.contains(r"^[-+]?\d+$"))
    exact = as_key(whole.drop_nulls(), "integer")
    if exact.null_count():  # longer than 128 bits
        return True
    longest = max(abs(int(exact.min() or 0)), abs(int(exact.max() or 0)))  # type: ignore[arg-type]
    return longest > BEYOND_FLOAT and not is_moment(name, exact)


def is_moment(name: str, whole: pl.Series) -> bool:
    """True for whole numbers that are epoch times of 1990 to 2040 by magnitude, and by name or precision.

    Nanoseconds need no such name if they end in three zeros, as clocks with microsecond resolution write them.
    """
    low, high = whole.min(), whole.max()
    if low is None or high is None:
        return False
    unit = next((per for per in PER_SECOND if EPOCH[0] * per <= int(low) and int(high) <= EPOCH[1] * per), None)  # type: ignore[arg-type]
    if unit is None:
        return False
    return bool(_TIME_NAME.search(name)) or (
        unit == 10**9 and bool((whole.drop_nulls().cast(pl.Int64) % 1_000 == 0).all())
    )


def date_format(values: pl.Series, *, asked: bool = False, most: float = MOST) -> str | None:
    """The datetime format of (nearly) every cell of a sample, text or numbers; see ``moments``.

    Args:
        values: text or numbers.
        asked: the user declared the column a datetime; numbers may then have any format.
        most: share of the cells of text that must have the format.
    """
    if values.dtype.is_numeric():
        return number_format(values, asked=asked)
    words = held_words(values)
    if len(words) and words.str.contains(r"^\d{5,19}$").sum() >= MOST * len(words):
        return number_format(words, asked=asked)
    return next(iter(likely_formats(words, most)), None)


def form_of(name: str, kind: Kind, values: pl.Series, separator: str | None) -> str | None:
    """Format of a column's cells: the list format of text, or the datetime format of untyped cells.

    Raises:
        AuditError: the user declared it a datetime, but no format fits.
    """
    text = values.dtype in (pl.String, pl.Categorical, pl.Enum)
    if kind == "multi" and text:
        words = held_words(values)
        return list_format(words, separator) or fallback_format(words)
    if kind == "vector" and text and not is_vector(held_words(values), any_numbers=True):
        raise AuditError(f"kinds.{name}=vector: the column is {values.dtype}, which cannot be read as vector")
    if kind == "datetime" and (text or values.dtype.is_numeric()):
        values = values.cast(pl.String) if text else values
        form = date_format(values, asked=True)
        if form is None and values.count():
            raise AuditError(
                f"kinds.{name}=datetime: {values.drop_nulls()[0]!r} does not match any known datetime format; give "
                "ISO dates, numbers such as 20141021, epoch seconds, or another kind"
            )
        return form
    return None


def _separators(config: AuditConfig, schema: Mapping[str, pl.DataType], sample: pl.DataFrame) -> dict[str, str]:
    """Text column -> its separator from ``reader.list_separator``; a glob applies only to text columns whose cells
    contain the separator.

    Raises:
        AuditError: a name or glob matches no column, or a named column is not text.
    """
    found: dict[str, str] = {}
    for pattern, separator in config.reader.list_separator.items():
        for name in match_globs("reader.list_separator", [pattern], list(schema)):
            text = schema[name] in (pl.String, pl.Categorical, pl.Enum)
            if name == pattern and not text:
                raise AuditError(f"reader.list_separator.{name}={separator!r}: the column is {schema[name]}, not text")
            if name == pattern or (text and name in sample and _holds(sample[name], separator)):
                found[name] = config.reader.list_separator.get(name, separator)
    return found


def _holds(text: pl.Series, separator: str) -> bool:
    held = text.cast(pl.String).drop_nulls()
    return len(held) > 0 and held.str.contains(separator, literal=True).sum() >= 0.05 * len(held)


def schema_yaml(columns: Sequence[Column]) -> str:
    """The inferred kinds as YAML, to be edited and put into a configuration."""
    kinds = {column.name: column.kind for column in columns}
    head = "# Inferred by feature-audit. Put any of these lines into your configuration to change a kind:\n"
    head += "# numeric, categorical, boolean, multi (list), vector, datetime. Names may be globs.\n"
    return head + yaml.safe_dump({"kinds": kinds}, sort_keys=False, allow_unicode=True)


def _list_kind(dtype: pl.List | pl.Array, sample: pl.Series) -> Kind | None:
    inner = dtype.inner
    if isinstance(dtype, pl.Array):
        return "vector" if inner.is_numeric() else "multi" if inner == pl.String else None
    if inner.is_float():
        lengths = sample.drop_nulls().list.len()
        return "vector" if len(lengths) and lengths.min() == lengths.max() and lengths.max() > 0 else "multi"  # type: ignore[operator]
    return "multi" if inner.is_integer() or inner in (pl.String, pl.Categorical, pl.Enum, pl.Boolean) else None


def _text_kind(sample: pl.Series) -> Kind:
    words = held_words(sample)
    if len(words) and date_format(words):
        return "datetime"
    if not len(words) or words.str.contains(r"^0\d+$").any():
        return "categorical"
    if words.cast(pl.Float64, strict=False).count() >= MOST * len(words):
        return "categorical" if is_id_name(sample.name) or (is_whole(words) and is_code("", words)) else "numeric"
    if find_form(words, MOST) is not None:
        return "numeric"
    if words.str.to_lowercase().is_in(["true", "false"]).all():
        return "boolean"
    return "vector" if is_vector(words) else "multi" if list_format(words) else "categorical"


def _check_kind(name: str, kind: Kind, dtype: pl.DataType) -> None:
    inner = dtype.inner if isinstance(dtype, pl.List | pl.Array) else None
    nested = inner is not None
    fits = {
        "numeric": not nested and dtype != pl.Struct,
        "categorical": not nested and dtype != pl.Struct,
        "boolean": not nested and dtype != pl.Struct,
        "multi": nested or dtype == pl.String,
        "vector": inner.is_numeric() if inner is not None else dtype == pl.String,
        "datetime": not nested and dtype not in (pl.Struct, pl.Boolean),
    }
    if not fits[kind]:
        raise AuditError(f"kinds.{name}={kind}: the column is {dtype}, which cannot be read as {kind}")
