"""The load stage's data work, in order: read, roles, split, statistics, findings, validation, encoders, store."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data.checks import Examined, examine
from feature_audit.data.columns import Roles, assign_roles, listing
from feature_audit.data.fitting import fit_encoders
from feature_audit.data.keys import Target, check_row_ids, read_codes, read_target, read_time
from feature_audit.data.kinds import infer_columns
from feature_audit.data.prepared import MARKER, Prepared
from feature_audit.data.profile import column_profile, table_profile
from feature_audit.data.reading import Source, input_digest, open_source, resolve_data
from feature_audit.data.slices import slice_codes
from feature_audit.data.splits import SPLITS, Split, overlap, split_rows
from feature_audit.data.statistics import Statistics, gather
from feature_audit.data.writing import write_store
from feature_audit.errors import AuditError
from feature_audit.schema import Column, ModelSchema

_DIGEST_KEYS = (
    "target", "task", "row_id", "time", "group", "exclude", "never_drop", "split", "seed", "prepare", "test_share",
    "validation_share", "kinds", "groups", "cost", "slices", "reader", "encoding", "checks",
)  # fmt: skip


def prepare(config: AuditConfig, directory: Path, progress: Callable[[str], None] = lambda message: None) -> Prepared:
    """Turn the configured log into a training store and everything the report says about the data.

    Args:
        config: the audit's configuration.
        directory: where the store is written; an older one there is replaced.
        progress: told, in words, what takes long.

    Returns:
        The prepared table, also saved under ``directory`` (``Prepared.load``).

    Raises:
        AuditError: see the bad-input section of the README; always one line with key or column, value and remedy.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARKER).unlink(missing_ok=True)
    data = resolve_data(config, directory)
    digest = data_digest(config, data)
    source = open_source(config, data, directory, progress)
    table = source.frame.collect_schema()
    roles = assign_roles(config, table.names())
    target = read_target(source, roles, str(config.target), config.task)
    if roles.row_id:
        check_row_ids(source, roles.row_id)
    split, keys, time = _split(config, source, roles, target)
    progress("inferring kinds")
    peek = source.frame.select(roles.candidates).head(20_000).collect()
    columns, unusable = infer_columns(config, roles, table, peek, source.origin)
    progress(f"counting {len(columns)} columns on {split.rows()['train']} train rows")
    usable = tuple(column for column in columns if column.name not in unusable)
    statistics = gather(source, usable, split.of_row, config.seed, config.encoding.max_categories)
    progress("looking for constants, duplicates, leaks and drift")
    is_datetime = roles.time is not None and not table[roles.time].is_numeric()
    examined = examine(
        config, source, usable, statistics,
        split=split, target=target, time=time, time_is_datetime=is_datetime, unusable=unusable,
    )  # fmt: skip
    findings, excluded = examined.findings, examined.excluded
    kept = tuple(column for column in usable if column.name not in excluded)
    if not kept:
        raise AuditError(
            f"data: none of the {len(columns)} columns is a usable feature; see the findings: " + _reasons(excluded)
        )
    progress("validating the profile")
    validation = _validate(config, usable, statistics, examined, split=split, target=target, time=time)
    encoders = fit_encoders(kept, statistics, config.encoding)
    schema = ModelSchema(encoders.fields, target.task, target.n_classes)
    group = keys.get("group")
    write_store(
        directory, source, encoders, schema, of_row=split.of_row, target=target.values,
        group=group, slices=slice_codes(source, roles.slices, split.of_row), row_id=roles.row_id, progress=progress,
    )  # fmt: skip
    encoders.save(directory / "encoders.json")
    summary = summarise(usable, target, split, statistics)
    prepared = Prepared(
        directory, schema, columns, findings, excluded, split.rows(), split.info, digest, validation, summary
    )
    prepared.save()
    return prepared


def data_digest(config: AuditConfig, data: str) -> str:
    """blake2b over the input's bytes and the configuration keys that shape the store."""
    content = {key: value for key, value in config.model_dump(mode="json").items() if key in _DIGEST_KEYS}
    digest = hashlib.blake2b(input_digest(data).encode(), digest_size=16)
    digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.hexdigest()


def summarise(columns: tuple[Column, ...], target: Target, split: Split, statistics: Statistics) -> dict[str, Any]:
    """Figures for the report: sizes, label balance per split, null shares."""
    rows = split.rows()
    balance = {}
    for code, name in enumerate(SPLITS):
        values = target.values[split.of_row == code]
        if target.classes:
            counts = np.bincount(values.astype(np.int64), minlength=len(target.classes))
            balance[name] = {
                label: float(count / len(values)) for label, count in zip(target.classes, counts, strict=True)
            }
        else:
            balance[name] = {"mean": float(values.mean()), "std": float(values.std())}
    return {
        "rows": len(split.of_row),
        "columns": len(columns),
        "task": target.task,
        "classes": list(target.classes),
        "positive_class": target.classes[1] if target.task == "binary" else None,
        "positives_share": float(target.values.mean()) if target.task == "binary" else None,
        "target_per_split": balance,
        "kinds": {kind: sum(column.kind == kind for column in columns) for kind in sorted({c.kind for c in columns})},
        "null_share": {
            column.name: {name: statistics.facts[column.name].nulls[name] / max(rows[name], 1) for name in SPLITS}
            for column in columns
        },
    }


def _split(
    config: AuditConfig, source: Source, roles: Roles, target: Target
) -> tuple[Split, dict[str, tuple[np.ndarray, list[str]]], np.ndarray | None]:
    """The split of every row, the group's codes with labels, and the time of every row."""
    time = read_time(source, roles.time) if roles.time else None
    keys = {"group": read_codes(source, roles.group)} if roles.group else {}
    column = source.frame.select(roles.split_column).collect()[roles.split_column] if roles.split_column else None
    split = split_rows(
        config, roles, target, time=time, group=keys["group"][0] if keys else None, column=column
    )  # fmt: skip
    if keys:
        split.info["overlap"] = overlap(split.of_row, keys["group"][0])
    return split, keys, time


def _validate(
    config: AuditConfig, columns: tuple[Column, ...], statistics: Statistics, examined: Examined, *,
    split: Split, target: Target, time: np.ndarray | None,
) -> dict[str, Any]:  # fmt: skip
    """The GX result; a critical failure ends the audit here, before anything is encoded."""
    from feature_audit.data.expectations import validate

    kinds = Counter(finding.kind for finding in examined.findings)
    gone = sum(column.name in examined.excluded for column in columns)
    result = validate(
        column_profile(columns, statistics, split, examined.excluded, examined.drift),
        table_profile(target, split, time, usable=len(columns) - gone, excluded=gone, findings=kinds),
        config.checks,
        target.task,
    )
    if not result["passed"]:
        first = next(line for line in result["failures"] if line["severity"] == "critical")
        where = f" in {listing(first['columns'])}" if first["columns"] else ""
        seen = listing([str(value) for value in first["observed"]])
        raise AuditError(f"data: expected that {first['expected']}, but {first['measure']} is {seen}{where}")
    return result


def _reasons(excluded: dict[str, str]) -> str:
    name, reason = next(iter(excluded.items()))
    return f"for example {name}: {reason}"
