"""Encodes raw columns as codes, fitted on train rows; vectors, lists and times become side tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

#: Values that are rarer in train share one code.
_MIN_COUNT = 5
_TOKENS = 60


@dataclass
class Columns:
    """Fields under construction: codes (rows, N) column by column.

    Attributes:
        codes: one int64 (rows,) array per field.
        sizes: number of codes of each field.
        sides: field number -> float32 (codes, width), the fixed vectors that a field's codes represent.
        names: names of the fields.
        categorical: whether the field's codes are categories rather than bins of a number.
        missing: code of a number's missing values; -1 = none.
    """

    codes: list[np.ndarray] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    sides: dict[int, np.ndarray] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    categorical: list[bool] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)

    def add_number(self, name: str, values: np.ndarray, train: np.ndarray, *, bins: int) -> None:
        """Add a field of numbers (NaN = missing), binned by quantiles of its train rows."""
        codes, size = quantile_codes(values, train, bins=bins)
        self.add(name, codes, size, categorical=False)
        self.missing[-1] = size - 1 if np.isnan(values).any() else -1

    def add(
        self, name: str, codes: np.ndarray, size: int, side: np.ndarray | None = None, *, categorical: bool = True
    ) -> None:
        if side is not None:
            self.sides[len(self.codes)] = side.astype(np.float32)
        self.codes.append(codes.astype(np.int64))
        self.sizes.append(int(size))
        self.names.append(name)
        self.categorical.append(categorical and side is None)
        self.missing.append(-1)


def encode_matrix(x: np.ndarray, train: np.ndarray, *, bins: int = 16) -> Columns:
    """Encode every column of a float matrix (rows, N) by quantiles of its train rows."""
    columns = Columns()
    for number in range(x.shape[1]):
        columns.add_number(f"x{number}", x[:, number], train, bins=bins)
    return columns


def encode_frame(frame: pl.DataFrame, train: np.ndarray, *, bins: int = 16) -> Columns:
    """Encode every column of a frame by its type; ``train`` contains row numbers."""
    columns = Columns()
    for series in frame:
        if isinstance(series.dtype, pl.Array):
            values = series.to_numpy().astype(np.float64)
            mean, spread = values[train].mean(axis=0), values[train].std(axis=0)
            columns.add(series.name, np.arange(len(series)), len(series), (values - mean) / np.maximum(spread, 1e-9))
        elif isinstance(series.dtype, pl.List):
            columns.add(series.name, *_bag(series, train))
        elif isinstance(series.dtype, pl.Datetime):
            columns.add(series.name, *_clock(series))
        elif series.dtype.is_numeric() or series.dtype == pl.Boolean:
            columns.add_number(series.name, series.cast(pl.Float64).to_numpy(), train, bins=bins)
        else:
            columns.add(series.name, *category_codes(series.cast(pl.String), train))
    return columns


def quantile_codes(values: np.ndarray, train: np.ndarray, *, bins: int) -> tuple[np.ndarray, int]:
    """Codes (rows,) and their number: half of the cuts split the rows evenly, half the distinct values.

    Missing values (NaN), if any, have a separate code.
    """
    missing = np.isnan(values)
    known = values[train][~missing[train]]
    if len(known) == 0:
        return missing.astype(np.int64), 2
    distinct = np.unique(known)
    inner = np.linspace(0, 1, bins // 2 + 1)[1:]
    cuts = [np.quantile(of, inner, method="nearest") for of in (known, distinct)]
    edges = np.setdiff1d(np.concatenate(cuts), distinct[:1])
    codes = np.searchsorted(edges, values, side="right")
    if not missing.any():
        return codes, len(edges) + 1
    return np.where(missing, len(edges) + 1, codes), len(edges) + 2


def category_codes(series: pl.Series, train: np.ndarray) -> tuple[np.ndarray, int]:
    """Codes: 0 = missing, 1 = rare or unseen in train, the others by descending frequency in train."""
    counts = series.gather(train).drop_nulls().value_counts().filter(pl.col("count") >= _MIN_COUNT)
    ordered = counts.sort(by=["count", series.name], descending=[True, False])[series.name].to_list()
    known = {value: 2 + place for place, value in enumerate(ordered)}
    codes = [0 if value is None else known.get(value, 1) for value in series.to_list()]
    return np.array(codes, dtype=np.int64), len(ordered) + 2


def _bag(series: pl.Series, train: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """Lists as one code per distinct list, which represents its frequent tokens."""
    tokens = series.gather(train).explode().drop_nulls().value_counts(sort=True)[series.name].head(_TOKENS).to_list()
    place = {token: number for number, token in enumerate(sorted(tokens))}
    seen: dict[tuple[int, ...], int] = {}
    codes = [
        seen.setdefault(tuple(sorted({place[t] for t in row if t in place})), len(seen)) if row is not None else -1
        for row in series.to_list()
    ]
    side = np.zeros((len(seen) + 1, len(place)))
    for held, code in seen.items():
        side[code, list(held)] = 1.0
    return np.where(np.array(codes) < 0, len(seen), codes), len(seen) + 1, side


def _clock(series: pl.Series) -> tuple[np.ndarray, int, np.ndarray]:
    """Times as hour of the week, which represents its hour and its day."""
    hour = series.dt.hour().fill_null(0).to_numpy().astype(np.int64)
    day = series.dt.weekday().fill_null(1).to_numpy().astype(np.int64) - 1
    side = np.concatenate([np.tile(np.eye(24), (7, 1)), np.repeat(np.eye(7), 24, axis=0)], axis=1)
    return 24 * day + hour, 168, side
