"""Costs of features and source tables: numbers in the configuration, or a CSV sheet."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from feature_audit.data.columns.roles import lookup, match_globs
from feature_audit.data.messages import listing, one_line
from feature_audit.errors import AuditError

#: Column names of a sheet; one of the first two and the last are required.
FEATURE, TABLE, COST = "feature", "table", "cost"


@dataclass(frozen=True)
class Costs:
    """Annual costs in the user's unit.

    Attributes:
        features: column or glob -> cost of keeping one such feature.
        tables: source table -> cost of keeping the table at all, saved when its last feature is dropped.
    """

    features: dict[str, float] = field(default_factory=dict)
    tables: dict[str, float] = field(default_factory=dict)

    def of(self, name: str) -> float:
        """Cost of a feature; an exact name takes precedence over globs, and the first glob over later ones."""
        return float(lookup(self.features, name) or 0.0)


@dataclass(frozen=True)
class _Entry:
    """One cost entry; ``where`` begins error messages about it."""

    where: str
    name: str
    cost: float
    is_table: bool | None  # None: inferred from the name


def read_costs(cost: Mapping[str, float] | str, columns: Sequence[str], tables: Sequence[str]) -> Costs:
    """Costs from the configuration or its CSV file, with every name checked.

    Args:
        cost: name -> cost, or the path of a CSV file with a header: ``feature`` (column or glob) and / or ``table``,
            and ``cost``; comma, semicolon or tab between cells. In a mapping, a name that is not a column may be a
            table.
        columns: columns of the log.
        tables: known source tables: the keys of ``groups``, or tables that the input itself names.

    Raises:
        AuditError: the file or one of its columns is missing, a cost is not a number of 0 or more, or a name is unknown
            or repeated; one line with file and line number.
    """
    if isinstance(cost, str):
        entries = list(_sheet(Path(cost)))
    else:
        entries = [_Entry(f"cost.{name}", name, float(value), None) for name, value in cost.items()]
    features: dict[str, float] = {}
    costs_of_tables: dict[str, float] = {}
    for entry in entries:
        is_table = entry.name in tables if entry.is_table is None else entry.is_table
        if entry.is_table is None and is_table and entry.name in columns:
            raise AuditError(
                f"{entry.where}: both a column and a table have this name; use a CSV file to say which (cost=path)"
            )
        if is_table and entry.name not in tables:
            raise AuditError(f"{entry.where}: no table {entry.name}; groups has {listing(tables) or 'none'}")
        if not is_table:
            _check_feature(entry, columns)
        known = costs_of_tables if is_table else features
        if entry.name in known:
            raise AuditError(f"{entry.where}: {entry.name} already has a cost; keep one of the two rows")
        known[entry.name] = entry.cost
    return Costs(features, costs_of_tables)


def _check_feature(entry: _Entry, columns: Sequence[str]) -> None:
    try:
        match_globs("feature", [entry.name], columns)
    except AuditError as error:
        raise AuditError(f"{entry.where}: {str(error).removeprefix('feature=')}; fix or remove the row") from None


def _sheet(path: Path) -> Iterator[_Entry]:
    """The rows of a cost sheet; empty lines are skipped, line numbers count from 1 including the header."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError(f"cost={path}: cannot be read ({one_line(error)}); give the path of a CSV file") from None
    first = text.split("\n", maxsplit=1)[0]
    separator = max(",;\t", key=first.count)
    rows = csv.reader(text.splitlines(), delimiter=separator)
    header = [cell.strip().lower() for cell in next(rows, [])]
    if COST not in header or not {FEATURE, TABLE} & set(header):
        raise AuditError(
            f"cost={path}: its header is `{first.strip()}`; it needs the columns feature (or table) and cost"
        )
    for cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        where = f"cost={path}, line {rows.line_num}"
        row = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
        named = [key for key in (FEATURE, TABLE) if row.get(key)]
        if len(named) != 1:
            raise AuditError(f"{where}: names {'both a feature and a table' if named else 'nothing'}; name one of them")
        yield _Entry(where, row[named[0]], _number(where, row.get(COST, "")), named[0] == TABLE)


def _number(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise AuditError(f"{where}: cost {text!r} is not a number of 0 or more; write it like 1234.5")
    return value
