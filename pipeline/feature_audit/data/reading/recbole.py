"""RecBole's atomic files: ``name.inter`` (interactions), ``name.user``, ``name.item``; tab-separated, typed headers.

Types: ``token`` (category), ``float``, ``token_seq`` and ``float_seq`` (space-separated lists).
Format: https://recbole.io/docs/user_guide/data/atomic_files.html
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from feature_audit.data.messages import listing
from feature_audit.data.reading.row_shape import shape_of
from feature_audit.errors import AuditError

_TYPES = ("token", "float", "token_seq", "float_seq")


def companions(inter: Path) -> dict[str, Path]:
    """The user and item files of an interaction file; they may not exist."""
    return {table: inter.with_suffix(f".{table}") for table in ("user", "item")}


def read_atomic(inter: Path, progress: Callable[[str], None]) -> tuple[pl.LazyFrame, dict[str, str]]:
    """Interactions joined with their user's and item's columns, in the order of the interactions.

    Returns:
        The joined frame, and column -> ``inter``, ``user`` or ``item``.

    Raises:
        AuditError: a header lacks types, a row is too short or too long, a side file shares no id column, or an id
            occurs twice in a side file.
    """
    frame = read_table(inter)
    origin = dict.fromkeys(frame.collect_schema(), "inter")
    for table, path in companions(inter).items():
        if not path.is_file():
            continue
        progress(f"joining {path.name}")
        side = read_table(path)
        names = side.collect_schema().names()
        key = next((name for name in names if origin.get(name) == "inter"), None)
        if key is None:
            raise AuditError(f"data={path}: shares no id column with {inter.name}; it has {listing(names)}")
        repeated = side.group_by(key).len().filter(pl.col("len") > 1).sort(key).head(1).collect()
        if repeated.height:
            raise AuditError(
                f"data={path}: {key}={repeated[key][0]} occurs {repeated['len'][0]} times; keep one row per {key}"
            )
        side = side.rename({name: f"{table}_{name}" for name in names if name != key and name in origin})
        origin |= {name: table for name in side.collect_schema() if name != key}
        frame = frame.join(side, on=key, how="left", maintain_order="left")
    return frame, origin


def read_table(path: Path) -> pl.LazyFrame:
    """One atomic file with its types applied.

    Raises:
        AuditError: the file is empty, its header lacks types, or a row has too few or too many cells.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        header = stream.readline().rstrip("\r\n").split("\t")
    if header == [""]:
        raise AuditError(f"data={path}: the file is empty")
    types = {}
    for cell in header:
        name, _, kind = cell.rpartition(":")
        if not name or kind not in _TYPES:
            raise AuditError(f"data={path}: header `{cell}` is not name:type with a type of {', '.join(_TYPES)}")
        types[name] = kind
    frame = pl.scan_csv(
        path,
        separator="\t",
        infer_schema=False,
        quote_char=None,
        new_columns=list(types),
        encoding="utf8-lossy",
        glob=False,
    )
    shape = shape_of(path, "\t", len(types))
    if shape.bad_line is not None and len(types) > 1:
        raise AuditError(
            f"data={path}: line {shape.bad_line} has {shape.cells} cells, but the header has {len(types)}; fix that row"
        )
    if shape.blank:
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    return frame.select(_typed(name, kind) for name, kind in types.items())


def _typed(name: str, kind: str) -> pl.Expr:
    column = pl.col(name)
    if kind == "float":
        return column.cast(pl.Float64, strict=False)
    if kind == "token":
        return column
    parts = column.str.split(" ").list.eval(pl.element().filter(pl.element() != ""))
    return parts.cast(pl.List(pl.Float64), strict=False) if kind == "float_seq" else parts
