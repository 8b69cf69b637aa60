"""The load stage's data steps in order: read, roles, split, statistics, findings, validation, encoders, store."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from feature_audit.config import AuditConfig
from feature_audit.data.checks.examine import Examined, examine
from feature_audit.data.checks.identity import settle
from feature_audit.data.checks.profile import column_profile, table_profile
from feature_audit.data.columns.kinds import infer_columns
from feature_audit.data.columns.roles import assign_roles, given_kind
from feature_audit.data.encoding.fit import fit_encoders
from feature_audit.data.messages import listing
from feature_audit.data.overview import looks_like, unsure_integers, unsure_text
from feature_audit.data.prepared import MARKER, Prepared
from feature_audit.data.reading.column_bytes import column_bytes
from feature_audit.data.reading.input_digest import input_digest
from feature_audit.data.reading.prepare_function import prepare_source
from feature_audit.data.reading.source import open_source
from feature_audit.data.store.writer import write_store
from feature_audit.data.table.dataset import LabelledTable, peek, read_log
from feature_audit.data.table.formatted_numbers import as_numbers
from feature_audit.data.table.further import further_summary, outputs_of
from feature_audit.data.table.slices import slice_codes
from feature_audit.data.table.splits import SPLITS
from feature_audit.data.table.statistics import Statistics, gather
from feature_audit.data.table.target import read_production
from feature_audit.data.table.weights import weight_summary
from feature_audit.errors import AuditError
from feature_audit.labels import Target
from feature_audit.plurals import counted
from feature_audit.schema import Column, ModelSchema

#: Configuration keys that the store depends on, in addition to ``data`` itself.
STORE_KEYS = (
    "target", "task", "positive", "row_id", "time", "group", "exclude", "never_drop", "always_drop", "split", "seed",
    "prepare", "test_share", "validation_share", "kinds", "groups", "cost", "slices", "reader", "encoding", "checks",
    "drop_rows", "split_files", "production_score", "group_is_feature", "weight", "negative_sampling",
)  # fmt: skip

#: Keys that only affect decisions about columns and the report, not the encoded cells of a feature.
RULES = ("never_drop", "always_drop", "groups", "cost", "slices", "production_score")


def prepare(config: AuditConfig, directory: Path, progress: Callable[[str], None] = lambda message: None) -> Prepared:
    """Build a training store from the configured log, and collect everything that the report says about the data.

    Args:
        config: the audit's configuration.
        directory: folder of the store; an older store there is replaced.
        progress: called with a message before each long step.

    Returns:
        The prepared table, also saved under ``directory`` (``Prepared.load``).

    Raises:
        AuditError: the log or the configuration is invalid; one line with key or column, value and remedy.
    """
    directory = _empty_store(Path(directory))
    raw = input_digest(config.data)
    source = open_source(config, config.data, directory, progress)
    dtypes = source.frame.collect_schema()
    table = read_log(config, source, assign_roles(config, dtypes.names()))
    source = table.source
    progress(f"inferring the kinds of {counted(len(table.roles.candidates), 'column')}")
    shown = peek(source, table.roles.candidates, table.rows)
    columns, unusable, table_costs = infer_columns(config, table.roles, dtypes, shown, source.origin)
    columns, doubtful = settle(config, table, columns, shown)
    given = {column.name for column in columns if given_kind(config, column.name) is not None}
    source, forms = as_numbers(source, columns, shown, given)
    table = replace(table, source=source)
    columns, bytes_from = _measured(config, directory, columns, shown)
    slices = slice_codes(source, table.roles.slices, table.split.of_row)
    production = read_production(source, table.roles.production_score, table.target.task)
    unsure = unsure_integers(columns, doubtful) + unsure_text(columns, shown, forms, given)
    looks = looks_like(config, columns, shown)
    shown = peek(source, table.roles.candidates, table.rows) if forms else shown
    usable = tuple(column for column in columns if column.name not in unusable)
    progress(f"counting {counted(len(usable), 'column')} on {counted(table.split.rows()['train'], 'train row')}")
    statistics = gather(
        source, usable, shown, table.split.of_row, seed=config.seed, max_values=config.encoding.max_categories
    )
    progress("looking for constants, duplicates, leaks and drift")
    examined = examine(config, table, usable, statistics, unusable)
    kept = tuple(column for column in usable if column.name not in examined.excluded)
    if not kept:
        name, reason = next(iter(examined.excluded.items()))
        none = "the only column is not" if len(columns) == 1 else f"none of the {len(columns)} columns is"
        raise AuditError(f"data: {none} a usable feature (for example {name}: {reason})")
    progress("validating the profile")
    validation = _validate(config, table, usable, statistics, examined)
    encoders = fit_encoders(kept, statistics, config.encoding, forms)
    summary = summarise(usable, table, statistics) | {"looks_like": looks, "unsure": unsure}
    summary |= {"targets": further_summary(table.further, table.split)} if table.further else {}
    if table.weight is not None:
        summary |= weight_summary(config, table.weight, table.target, table.split)
    summary |= {"bytes_from": bytes_from} if bytes_from else {}
    del statistics  # its samples are not needed while the table is encoded
    target, outputs = (
        table.target,
        outputs_of(str(config.target), table.target, table.further, table.split, table.weight),
    )
    schema = ModelSchema(encoders.fields, target.task, target.n_classes, outputs)
    write_store(directory, table, encoders, schema, slices, production=production, progress=progress)
    encoders.save(directory / "encoders.json")
    prepared = Prepared(
        directory, schema, columns, examined.findings, examined.excluded, table.split.rows(), table.split.info,
        _digest(config, raw), validation, summary, table_costs, _content(config, raw, schema), table.family,
    )  # fmt: skip
    prepared.save()
    return prepared


def _measured(
    config: AuditConfig, directory: Path, columns: tuple[Column, ...], sample: pl.DataFrame
) -> tuple[tuple[Column, ...], str | None]:
    """The columns with their bytes per row, and the origin of these figures."""
    found = column_bytes(config, config.data, directory, sample)
    if found is None:
        return columns, None
    sized = (
        replace(one, bytes_per_row=found.stored[one.name], plain_bytes_per_row=found.plain[one.name]) for one in columns
    )
    return tuple(sized), found.origin


def _empty_store(directory: Path) -> Path:
    """The folder, with an earlier or interrupted preparation removed, marker first."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in (MARKER, "layout.json", "encoders.json", "group_labels.parquet"):
        (directory / name).unlink(missing_ok=True)
    for split in SPLITS:
        shutil.rmtree(directory / split, ignore_errors=True)
    return directory


def data_digest(config: AuditConfig, data: str) -> str:
    """blake2b over the bytes of input, ``prepare`` module and cost sheet, and the keys that shape the store."""
    return _digest(config, input_digest(data))


def _digest(config: AuditConfig, raw: str, without: Collection[str] = ()) -> str:
    """Digest of the input's digest and of the configuration, without some keys."""
    values = config.model_dump(mode="json")
    content = {key: values[key] for key in STORE_KEYS if key not in without}
    if config.further:
        content["targets"] = config.labels_read
    digest = hashlib.blake2b(raw.encode(), digest_size=16)
    digest.update(json.dumps(content, sort_keys=True).encode())
    if config.prepare:
        digest.update(prepare_source(config.prepare))
    if "cost" in content and isinstance(config.cost, str) and Path(config.cost).is_file():
        digest.update(Path(config.cost).read_bytes())
    return digest.hexdigest()


def _content(config: AuditConfig, raw: str, schema: ModelSchema) -> str:
    """Digest of the full model's training data: ``RULES`` affect it only through the set of features."""
    digest = hashlib.blake2b(_digest(config, raw, without=RULES).encode(), digest_size=16)
    digest.update(json.dumps(schema.names).encode())
    return digest.hexdigest()


def summarise(columns: tuple[Column, ...], table: LabelledTable, statistics: Statistics) -> dict[str, Any]:
    """Figures for the report: sizes, time range, label balance and null shares per split."""
    target, of_row, rows = table.target, table.split.of_row, table.split.rows()
    kinds = Counter(column.kind for column in columns)
    return {
        "rows": table.rows,
        "columns": len(columns),
        "kinds": {str(kind): count for kind, count in sorted(kinds.items())},
        "task": target.task,
        "classes": list(target.classes),
        "positive_class": target.classes[1] if target.task == "binary" else None,
        "positives_share": float(target.values.mean()) if target.task == "binary" else None,
        "target_per_split": {name: _balance(target, of_row == code) for code, name in enumerate(SPLITS)},
        "time": table.split.info.get("time"),
        "group": table.roles.group,
        "groups": len(table.group[1]) if table.group else None,
        "null_share": {
            column.name: {name: statistics.facts[column.name].nulls[name] / max(rows[name], 1) for name in SPLITS}
            for column in columns
        },
    }


def _balance(target: Target, inside: np.ndarray) -> dict[str, float]:
    """Class shares, or mean and standard deviation of a number, in one split."""
    values = target.values[inside]
    if not target.classes:
        return {"mean": float(values.mean(dtype=np.float64)), "std": float(values.std(dtype=np.float64))}
    counts = np.bincount(values.astype(np.int64), minlength=len(target.classes))
    return {label: float(count / len(values)) for label, count in zip(target.classes, counts, strict=True)}


def _validate(
    config: AuditConfig, table: LabelledTable, columns: tuple[Column, ...], statistics: Statistics, examined: Examined
) -> dict[str, Any]:
    """Run the GX validation; a critical failure ends the audit here, before anything is encoded."""
    from feature_audit.data.checks.great_expectations_suite import validate

    gone = sum(column.name in examined.excluded for column in columns)
    result = validate(
        column_profile(columns, table, statistics, examined.excluded, examined.drift),
        table_profile(table, examined.findings, usable=len(columns) - gone, excluded=gone),
        config.checks,
        table.target.task,
    )
    if not result["passed"]:
        first = next(line for line in result["failures"] if line["severity"] == "critical")
        where = f" in {listing(first['columns'])}" if first["columns"] else ""
        seen = listing([str(value) for value in first["observed"]])
        raise AuditError(f"data: expected: {first['expected']}; found: {first['measure']} is {seen}{where}")
    return result
