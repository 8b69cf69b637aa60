"""The log with label, split, time and group of each row: all per-row data that stay in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from feature_audit.config import AuditConfig
from feature_audit.data.columns.roles import Roles
from feature_audit.data.reading.source import Source
from feature_audit.data.table.formatted_numbers import PEEK_ROWS, target_as_numbers
from feature_audit.data.table.further import read_further
from feature_audit.data.table.splits import Split, format_time, overlap, split_rows
from feature_audit.data.table.target import check_row_ids, read_codes, read_time, target_cells
from feature_audit.data.table.weights import negatives_weight, read_weight
from feature_audit.errors import AuditError
from feature_audit.labels import Target, one_spelling, read_label, settles

#: Codes of every row and the label of each code.
Labelled = tuple[np.ndarray, list[str]]
#: Maximum share of rows without a time that are left out without ``drop_rows``.
FEW_GAPS = 0.01
#: Rows of a label digested at a time, and the number of distinct values that counts as few.
_BLOCK_ROWS, _FEW_LABELS = 1 << 20, 100


@dataclass(frozen=True)
class LabelledTable:
    """A table whose rows are labelled and split.

    Attributes:
        source: all rows.
        roles: role of each column.
        target: label of every row.
        split: split of every row.
        time: float64 (rows,) or None; microseconds since 1970 if ``time_is_datetime``.
        time_is_datetime: the time column holds datetimes, not plain numbers.
        group: int32 codes (rows,) of the unit of resampling and their labels, or None.
        family: see ``label_digest``.
        weight: float64 (rows,) > 0, or None without weights.
        further: further target -> its labels, float32 (rows,) with NaN where a row has none.
    """

    source: Source
    roles: Roles
    target: Target
    split: Split
    time: np.ndarray | None
    time_is_datetime: bool
    group: Labelled | None
    family: str
    weight: np.ndarray | None = None
    further: Mapping[str, Target] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of all splits."""
        return len(self.split.of_row)


def read_log(config: AuditConfig, source: Source, roles: Roles) -> LabelledTable:
    """Read and check the label and the key columns, leave out rows that do not count, and split the others.

    Raises:
        AuditError: a bad label, time, row id or split; see ``target`` and ``splits``.
    """
    source = target_as_numbers(source, roles.target_columns, config.task)
    label, note = one_spelling(target_cells(source, roles.target, f"target={config.target}"), config.task)
    source = replace(source, notes=(*source.notes, note)) if note else source
    time, is_datetime = read_time(source, roles.time) if roles.time else (None, False)
    whole = label
    source, label, time = _without_gaps(config, roles, source, label, time)
    weight = read_weight(source, roles.weight) if roles.weight else None
    if weight is not None and not weight.all():
        counts = weight > 0
        source, label = source.without(~counts, f"weight={roles.weight} is 0 there"), label.filter(pl.Series(counts))
        time, weight = None if time is None else time[counts], weight[counts]
    target = read_label(label, shown=str(config.target), task=config.task, positive=config.positive)
    weight = weight if config.negative_sampling is None else negatives_weight(config, target)
    if roles.row_id:
        check_row_ids(source, roles.row_id)
    group = read_codes(source, roles.group) if roles.group else None
    if group:
        _refuse_the_label(str(roles.group), group, target, is_target=roles.group in roles.target_columns)
    column = source.column(roles.split_column) if roles.split_column else None
    split = split_rows(config, roles, target, time=time, group=group[0] if group else None, column=column)
    if time is not None:
        split.info["time"] = {
            "column": roles.time,
            "first": format_time(float(time.min()), is_datetime=is_datetime),
            "last": format_time(float(time.max()), is_datetime=is_datetime),
        }
    for name in ("train_from", "validation_from", "test_from", "test_to"):
        if name in split.info:
            split.info[name] = format_time(split.info[name], is_datetime=is_datetime)
    if group:
        split.info["overlap"] = overlap(split.of_row, group[0])
    further = read_further(config, source, roles, target, split)
    return LabelledTable(source, roles, target, split, time, is_datetime, group, label_digest(whole), weight, further)


def label_digest(label: pl.Series) -> str:
    """Identity of a table, independent of its split and features: a digest of the labels of all rows.

    It depends on the order of the rows, because a random split does, but not on the names of the labels or on which
    of them is larger.

    Args:
        label: (rows,) label cells of every row, including rows that are left out later.
    """
    cells = label.cast(pl.String) if label.dtype in (pl.Categorical, pl.Enum) else label
    distinct = cells.drop_nulls().unique().sort()
    few = len(distinct) <= _FEW_LABELS  # avoids sorting all rows
    ranks = cells if few else cells.rank("dense").cast(pl.Int32)
    places = pl.Series(np.arange(1, len(distinct) + 1, dtype=np.int32))
    digests = [hashlib.blake2b(digest_size=16) for _ in range(2)]
    for start in range(0, len(ranks), _BLOCK_ROWS):
        part = ranks.slice(start, _BLOCK_ROWS)
        part = part.replace_strict(distinct, places, default=None, return_dtype=pl.Int32) if few else part
        risen = part.fill_null(0).to_numpy()
        flipped = np.where(risen > 0, np.int32(len(distinct) + 1) - risen, np.int32(0))
        for digest, one in zip(digests, (risen, flipped), strict=True):
            digest.update(one.tobytes())
    return min(digest.hexdigest() for digest in digests)


def _refuse_the_label(name: str, group: Labelled, target: Target, *, is_target: bool) -> None:
    """Refuse a group that is the label or determines it, because resampling it cannot measure noise."""
    if is_target:
        reason = "it is the target itself"
    elif target.classes and settles(group[0], target.values):
        reason = (
            "it determines the label (all rows with the same value have the same label), so resampling it cannot "
            "measure the noise"
        )
    else:
        return
    raise AuditError(f"group={name}: {reason}; name the user or another unit, or leave out group")


def _without_gaps(
    config: AuditConfig, roles: Roles, source: Source, label: pl.Series, time: np.ndarray | None
) -> tuple[Source, pl.Series, np.ndarray | None]:
    """Leave out the rows that ``drop_rows`` names, and rows without a time if they are few.

    Raises:
        AuditError: many rows have no time and ``drop_rows`` does not cover them; or no row is left.
    """
    gaps = label.is_null().to_numpy()
    if "no_label" in config.drop_rows and gaps.any():
        source, label = source.without(gaps, f"target={config.target} is missing there"), label.drop_nulls()
        time = None if time is None else time[~gaps]
    if time is not None and (gaps := np.isnan(time)).any():
        if gaps.mean() > FEW_GAPS and "no_time" not in config.drop_rows:
            unread = source.column(str(config.time)).filter(pl.Series(gaps)).drop_nulls().head(1)
            other = f"write {str(unread[0])[:40]!r} like the other times, or " if len(unread) else ""
            raise AuditError(
                f"time={config.time}: {gaps.sum():,} of {len(gaps):,} rows have no time (first: row {gaps.argmax()}); "
                f"{other}give drop_rows=no_time to leave them out, or split=random without time"
            )
        source = source.without(gaps, f"time={config.time} is missing or unreadable there")
        label, time = label.filter(pl.Series(~gaps)), time[~gaps]
    if "no_group" in config.drop_rows and roles.group is not None:
        gaps = source.column(roles.group).is_null().to_numpy()
        if gaps.any():
            source = source.without(gaps, f"group={roles.group} is missing there")
            label, time = label.filter(pl.Series(~gaps)), None if time is None else time[~gaps]
    if not len(label):
        raise AuditError(f"drop_rows={','.join(config.drop_rows)}: no rows are left; drop fewer")
    return source, label, time


def peek(source: Source, columns: Sequence[str], rows: int) -> pl.DataFrame:
    """Rows from the start, the middle and the end, because the first rows of a sorted log are not representative.

    Args:
        source: the table.
        columns: columns to return.
        rows: number of rows of the whole table.
    """
    return pl.concat([source.rows(columns, start, length) for start, length in _peek_parts(rows)])


def peek_rows(rows: int) -> np.ndarray:
    """Numbers of the rows that ``peek`` returns, in its order."""
    return np.concatenate([np.arange(start, min(start + length, rows)) for start, length in _peek_parts(rows)])


def _peek_parts(rows: int) -> list[tuple[int, int]]:
    """First row and length of each part; parts never overlap, because a repeated row looks like an agreement of two."""
    part = PEEK_ROWS // 3
    return [(0, PEEK_ROWS)] if rows <= PEEK_ROWS else [(0, part), ((rows - part) // 2, part), (rows - part, part)]
