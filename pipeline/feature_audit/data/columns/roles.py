"""Assigns roles to columns (target, key columns, candidate features) and validates names and globs."""

from __future__ import annotations

import difflib
import fnmatch
import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TypeVar

import polars as pl

from feature_audit.config import AuditConfig
from feature_audit.data.messages import listing, one_line, quoted
from feature_audit.errors import AuditError
from feature_audit.question import SliceRule, slice_rules
from feature_audit.schema import Kind

Value = TypeVar("Value")

#: Split kinds; any other value of ``split`` is a column name.
SPLIT_KINDS = ("time", "random", "group")
#: Column that is added if ``split_files`` assigns files to splits.
SPLIT_COLUMN = "split_file"


@dataclass(frozen=True)
class Roles:
    """Roles of the table's columns.

    Attributes:
        target: the label as a Polars expression.
        target_columns: the raw columns that the target and all further targets are computed from; never features.
        further: further target as the user wrote it -> its label as a Polars expression.
        row_id, time, group: key columns or None.
        split: ``time``, ``random``, ``group`` or ``column``.
        split_column: the split column if ``split`` is ``column``.
        slices: columns reported as slices (features or not), each with its rule.
        production_score: column of production scores, or None; never a feature.
        candidates: columns that may be features, in table order.
        protected: candidates that are never dropped.
        ruled_out: candidates that are always dropped.
        weight: column of row weights, or None; never a feature.
    """

    target: pl.Expr
    target_columns: tuple[str, ...]
    row_id: str | None
    time: str | None
    group: str | None
    split: str
    split_column: str | None
    slices: Mapping[str, SliceRule]
    production_score: str | None
    candidates: tuple[str, ...]
    protected: frozenset[str]
    ruled_out: frozenset[str]
    weight: str | None = None
    further: Mapping[str, pl.Expr] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns kept in addition to the features: ids, time, group, slices, scores; without duplicates."""
        named = (self.row_id, self.time, self.group, self.split_column, *self.slices, self.production_score)
        return tuple(dict.fromkeys(name for name in named if name is not None))


def assign_roles(config: AuditConfig, columns: Sequence[str]) -> Roles:
    """Check every column name of the configuration against the table and assign roles.

    Raises:
        AuditError: there is no target, a column is unknown (the message names the nearest), a glob matches no column, a
            feature name is empty or has control characters, or no candidate is left.
    """
    pattern = next((name for name in columns if name.startswith("^") and name.endswith("$")), None)
    if pattern is not None:
        raise AuditError(f"data: the column name {pattern} looks like a pattern (^...$); rename it")
    target, target_columns = parse_target(config.target, columns)
    parsed = {name: parse_target(name, columns, key="targets") for name in config.further}
    target_columns = tuple(dict.fromkeys([*target_columns, *(root for _, roots in parsed.values() for root in roots)]))
    for key in ("row_id", "time", "group", "production_score", "weight"):
        named = getattr(config, key)
        if named is not None:
            require_column(key, named, columns)
    split, split_column = _split_kind(config, columns)
    slices = slice_rules(config.slices)
    for name in slices:
        require_column("slices", name, columns)
    excluded = match_globs("exclude", config.exclude, columns)
    group = None if config.group_is_feature else config.group
    not_features = {
        *target_columns, *excluded, config.row_id, config.time, group, split_column, config.production_score,
        config.weight,
    }  # fmt: skip
    taken = {*target_columns, config.row_id, config.time, config.group, split_column} - {None}
    if config.production_score in taken:
        raise AuditError(
            f"production_score={config.production_score}: the column has another role; name the column of the score"
        )
    if config.weight in taken | {config.production_score} - {None}:
        raise AuditError(f"weight={config.weight}: the column has another role; name the column of the weight")
    candidates = tuple(name for name in columns if name not in not_features)
    for name in candidates:
        _check_name(name)
    if not candidates:
        raise AuditError("data: no column is left to use as a feature; exclude fewer columns")
    protected = _ruled("never_drop", config.never_drop, columns, not_features)
    ruled_out = _ruled("always_drop", config.always_drop, columns, not_features)
    both = sorted(protected & ruled_out)
    if both:
        raise AuditError(f"always_drop={both[0]}: the column is also in never_drop; remove it from one of them")
    return Roles(
        target,
        target_columns,
        config.row_id,
        config.time,
        config.group,
        split,
        split_column,
        slices,
        config.production_score,
        candidates,
        protected,
        ruled_out,
        config.weight,
        {name: expression for name, (expression, _) in parsed.items()},
    )


def _check_name(name: str) -> None:
    """Refuse names that a list of features with one name per line cannot represent."""
    if not name.strip():
        raise AuditError(f"data: a column is named {name!r}; give it a name, or drop it")
    if any(unicodedata.category(sign) in ("Cc", "Zl", "Zp") for sign in name):
        raise AuditError(f"data: column {name!r} has a control character in its name; rename it, or exclude it")


def _ruled(key: str, patterns: Iterable[str], columns: Sequence[str], not_features: Set[str | None]) -> frozenset[str]:
    """Candidates that a rule matches; globs skip columns that are not features, but naming one is an error."""
    patterns = tuple(patterns)
    clash = sorted(set(patterns) & not_features)
    if clash:
        raise AuditError(
            f"{key}={clash[0]}: the column is not a feature (target, key column or excluded); remove it there"
        )
    return frozenset(match_globs(key, patterns, [name for name in columns if name not in not_features]))


def parse_target(target: str | None, columns: Sequence[str], *, key: str = "target") -> tuple[pl.Expr, tuple[str, ...]]:
    """The label expression and the raw columns it reads; a column name takes precedence over an expression."""
    if target is None:
        raise AuditError("target: not given; name the label column, or an expression such as `rating >= 4`")
    if target in columns:
        return pl.col(target), (target,)
    try:
        expression = pl.sql_expr(target)
    except pl.exceptions.PolarsError as error:
        inside = max((name for name in columns if name in target and not name.isidentifier()), key=len, default="")
        hint = (
            f'; write a name like this one in double quotes: "{inside}"' if inside else _did_you_mean(target, columns)
        )
        raise AuditError(f"{key}={target}: neither a column nor an expression ({one_line(error)}){hint}") from None
    roots = tuple(dict.fromkeys(expression.meta.root_names()))
    if not roots:
        raise AuditError(f"{key}={target}: the expression does not use any column; name the label column")
    for name in roots:
        require_column(key, name, columns, shown=target)
    return expression, roots


def require_column(key: str, name: str, columns: Iterable[str], *, shown: str | None = None) -> None:
    """Raise a one-line error with the nearest name if ``name`` is not a column."""
    known = list(columns)
    if name in known:
        return
    text = f"; if it is text, write it in single quotes: '{name}'" if f'"{name}"' in (shown or "") else ""
    hint = _did_you_mean(name, known) or text or f"; the table has {listing(known)}"
    what = "no such column" if shown in (None, name) else f"no column {name}"
    raise AuditError(f"{key}={shown or name}: {what}{hint}")


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    """``; did you mean X?`` of the column that is spelt most like ``name``, or that it is a part of; "" without one."""
    plain = {other.strip().lower(): other for other in reversed(known)}
    wanted = name.strip().lower()
    near = [wanted] if wanted in plain else difflib.get_close_matches(wanted, plain, n=1, cutoff=0.6)
    near = near or sorted((other for other in plain if len(wanted) > 2 and wanted in other), key=len)
    return f"; did you mean {quoted(plain[near[0]])}?" if near else ""


def match_globs(key: str, patterns: Iterable[str], columns: Sequence[str]) -> tuple[str, ...]:
    """Columns that match names or globs, in table order; a pattern without a match is an error."""
    matched: set[str] = set()
    for pattern in patterns:
        found = [name for name in columns if name == pattern] or fnmatch.filter(columns, pattern)
        if not found:
            if any(sign in pattern for sign in "*?["):
                raise AuditError(f"{key}={pattern}: no column matches; the table has {listing(columns)}")
            alike = sum(name.startswith(pattern) for name in columns)
            if pattern and alike > 1:
                raise AuditError(f"{key}={pattern}: no such column; did you mean {pattern}*, which matches {alike}?")
            require_column(key, pattern, columns)
        matched.update(found)
    return tuple(name for name in columns if name in matched)


def lookup(patterns: Mapping[str, Value], name: str) -> Value | None:
    """The value of the first pattern that matches ``name``; an exact name takes precedence over globs."""
    if name in patterns:
        return patterns[name]
    return next((value for pattern, value in patterns.items() if fnmatch.fnmatchcase(name, pattern)), None)


def given_kind(config: AuditConfig, name: str) -> Kind | None:
    """The kind that the configuration sets for a column, or None; a group that is also a feature is categorical."""
    group = config.group_is_feature and name == config.group
    return lookup(config.kinds, name) or ("categorical" if group else None)


def _split_kind(config: AuditConfig, columns: Sequence[str]) -> tuple[str, str | None]:
    if config.split_files:
        return "column", SPLIT_COLUMN
    kind = config.split or ("time" if config.time else "random")
    if kind == "time" and config.time is None:
        raise AuditError("split=time: needs a time column; give time=<column>, or split=random")
    if kind == "group" and config.group is None:
        raise AuditError("split=group: needs a group column; give group=<column>, or split=random")
    if kind in SPLIT_KINDS:
        return kind, None
    if kind not in columns:
        near = difflib.get_close_matches(kind, [*SPLIT_KINDS, *columns], n=1)
        hint = f"did you mean {near[0]}?" if near else "give time, random, group or the name of a split column"
        raise AuditError(f"split={kind}: no such column; {hint}")
    return "column", kind
