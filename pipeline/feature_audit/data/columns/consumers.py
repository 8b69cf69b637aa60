"""Other consumers of features and source tables, from a file that a team maintains or a Feast registry export."""

from __future__ import annotations

import csv
import fnmatch
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from feature_audit.data.messages import listing, one_line
from feature_audit.errors import UsageError
from feature_audit.results import Readers
from feature_audit.schema import Column

#: Column names of a sheet; the first and one of the others are required.
CONSUMER, FEATURE, TABLE = "consumer", "feature", "table"
#: Key of the feature services in a Feast registry (`feast registry-dump`).
_SERVICES = "featureServices"


def read_consumers(path: str) -> dict[str, list[str]]:
    """Consumers and the names they read, as written in the file.

    Args:
        path: YAML or JSON ``consumer: [name, ...]``, a CSV file with the columns ``consumer`` and ``feature`` and / or
            ``table``, or the JSON of `feast registry-dump`, whose feature services are the consumers.

    Returns:
        Consumer -> names. A name is a feature (column or glob), a source table, or ``table:feature``.

    Raises:
        UsageError: the file cannot be read or has another structure; the message is one line.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix.lower() in (".csv", ".tsv"):
            return _of_sheet(path, text)
        content = json.loads(text) if file.suffix.lower() == ".json" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            f"consumers={path}: cannot be read ({one_line(error)}); give a YAML, JSON or CSV file, or the JSON of "
            "`feast registry-dump`"
        ) from None
    if not isinstance(content, dict) or not content:
        raise UsageError(
            f"consumers={path}: contains no consumers; write one `consumer: [feature or table, ...]` per line, or "
            "export JSON with `feast registry-dump`"
        )
    return _of_feast(path, content) if _SERVICES in content else _of_mapping(path, content)


def _of_mapping(path: str, content: Mapping[Any, Any]) -> dict[str, list[str]]:
    found = {}
    for consumer, names in content.items():
        listed = [names] if isinstance(names, str) else names
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise UsageError(f"consumers={path}: {consumer}: give a list of the features or tables that it reads")
        found[str(consumer)] = listed
    return found


def _of_feast(path: str, content: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        for service in content[_SERVICES]:
            refs = found.setdefault(service["spec"]["name"], [])
            for view in service["spec"].get("features", []):
                refs += [f"{view['featureViewName']}:{one['name']}" for one in view.get("featureColumns", [])]
    except (TypeError, KeyError, AttributeError):
        raise UsageError(
            f"consumers={path}: {_SERVICES} is not in the format of `feast registry-dump`; export it again"
        ) from None
    return found


def _of_sheet(path: str, text: str) -> dict[str, list[str]]:
    """``consumer,feature``, ``consumer,table`` or all three, separated by commas, semicolons or tabs."""
    first = text.split("\n", maxsplit=1)[0]
    rows = csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count))
    header = [cell.strip().lower() for cell in next(rows, [])]
    if CONSUMER not in header or not {FEATURE, TABLE} & set(header):
        raise UsageError(
            f"consumers={path}: its header is `{first.strip()}`; it needs the columns consumer and feature (or table)"
        )
    found: dict[str, list[str]] = {}
    for cells in rows:
        row = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
        names = [row[key] for key in (TABLE, FEATURE) if row.get(key)]
        if not any(row.values()):
            continue
        if not row.get(CONSUMER) or not names:
            raise UsageError(
                f"consumers={path}, line {rows.line_num}: the consumer, or what it reads, is missing; fill in both"
            )
        found.setdefault(row[CONSUMER], []).append(":".join(names))
    return found


def readers_of(consumers: Mapping[str, Sequence[str]], columns: Iterable[Column], *, own: str) -> Readers:
    """Which of a log's columns and source tables other consumers read.

    Names that are not in the log are only counted: other models read other tables.

    Args:
        consumers: result of ``read_consumers``.
        columns: columns of the log, with their source tables.
        own: name of the audited model, whose own feature service is not a reason to keep a feature.
    """
    table_of = {column.name: column.group for column in columns}
    tables = {group for group in table_of.values() if group}
    features: dict[str, list[str]] = {}
    whole: dict[str, list[str]] = {}
    unknown: list[str] = []
    for consumer, names in consumers.items():
        if consumer == own:
            continue
        for name in dict.fromkeys(names):
            read, table = _resolve(name, table_of, tables)
            if not read and table is None:
                unknown.append(name)
            for one in read:
                features.setdefault(one, []).append(consumer)
            if table is not None:
                whole.setdefault(table, []).append(consumer)
    note = f"Not in this log: {listing(unknown)}." if unknown else ""
    return Readers(_distinct(features), _distinct(whole), note)


def _resolve(name: str, table_of: Mapping[str, str | None], tables: set[str]) -> tuple[list[str], str | None]:
    """The columns that a name matches, or the table that is read if the log lacks the named column."""
    if name in tables and name not in table_of:
        return [column for column, table in table_of.items() if table == name], name
    found = [name] if name in table_of else fnmatch.filter(table_of, name)
    if found:
        return found, None
    table, _, feature = name.partition(":")
    if feature in table_of and table_of[feature] in (table, None):
        return [feature], None
    return [], table if feature and table in tables else None


def _distinct(found: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {name: list(dict.fromkeys(consumers)) for name, consumers in found.items()}
