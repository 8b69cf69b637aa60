"""Values to codes: vocabularies of categories, and quantile ranges of numbers in lists."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from feature_audit.data.columns.casting import BEYOND_FLOAT, Key, as_float, as_key, is_missing
from feature_audit.schema import MISSING, OOV

#: First code of a known value; MISSING (also the padding of bags) and OOV come before it.
FIRST = OOV + 1


class Vocabulary:
    """Values -> codes; equal values must have equal keys, regardless of their type."""

    def __init__(self, key: Key, values: list[Any], buckets: int = 0) -> None:
        self.key = key
        self.values = values
        self.buckets = buckets
        self.size = FIRST + len(values) + buckets
        self._tables: dict[pl.DataType, tuple[pl.Series, pl.Series]] = {}

    def codes(self, values: pl.Series) -> np.ndarray:
        """int32 codes of a flat series; null -> MISSING, unknown -> OOV or its hash bucket.

        Raises:
            ValueError: the known values exceed float precision, and the series is of floats.
        """
        if values.dtype.is_float() and self._is_long and (values.fill_nan(None).abs() > BEYOND_FLOAT).any():
            raise ValueError(
                "floats cannot distinguish its long codes, and pandas converts integer columns with nulls to floats; "
                "send integers without nulls, or text"
            )
        keys = as_key(values, self.key)
        codes = self._known(keys)
        if self.buckets and (codes == OOV).any():
            bucket = (keys.cast(pl.String).hash(0) % self.buckets).cast(pl.Int32) + (FIRST + len(self.values))
            codes = np.where(codes == OOV, bucket.to_numpy(), codes).astype(np.int32, copy=False)
        if keys.null_count():
            absent = is_missing(values) if self.key in ("integer", "float") else keys.is_null()  # a bad word is OOV
            codes = np.where(absent.to_numpy(), np.int32(MISSING), codes)
        return codes

    def _known(self, keys: pl.Series) -> np.ndarray:
        """int32 codes of known values; OOV for all others, including null.

        Polars rebuilds its lookup table in every call, which dominates the time for few rows and many values.
        """
        if len(keys) < len(self.values):
            code_of = self._code_of
            return np.array([code_of.get(value, OOV) for value in keys.to_list()], dtype=np.int32)
        if self.key == "text":
            codes = keys.cast(self._enum, strict=False).to_physical().cast(pl.Int32) + FIRST
        else:
            if keys.dtype not in self._tables:
                self._tables[keys.dtype] = self._table(keys.dtype)
            known, places = self._tables[keys.dtype]
            codes = keys.replace_strict(known, places, default=None, return_dtype=pl.Int32)
        # In NumPy, where nulls are NaN: a Series method such as fill_null runs a whole query each time.
        found = codes.to_numpy()
        return np.nan_to_num(found, nan=OOV).astype(np.int32) if codes.null_count() else found

    def _table(self, dtype: pl.DataType) -> tuple[pl.Series, pl.Series]:
        """Known values in the type of the keys, and their codes; values beyond Int64 cannot equal an Int64 key."""
        fits = [dtype != pl.Int64 or -(2**63) <= value < 2**63 for value in self.values]
        known = pl.Series([value for value, one in zip(self.values, fits, strict=True) if one], dtype=dtype)
        return known, pl.Series(np.arange(FIRST, FIRST + len(fits), dtype=np.int32)[fits])

    @cached_property
    def _is_long(self) -> bool:
        """True if a known value is a whole number beyond float precision."""
        if self.key == "text":
            return any(value.isdigit() and len(value) > 15 for value in self.values)
        return self.key == "integer" and any(abs(value) > BEYOND_FLOAT for value in self.values)

    @cached_property
    def _code_of(self) -> dict[Any, int]:
        return {value: code for code, value in enumerate(self.values, start=FIRST)}

    @cached_property
    def _enum(self) -> pl.Enum:
        return pl.Enum(self.values)

    def state(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"key": self.key, "values": self.values, "buckets": self.buckets}


class Buckets:
    """Numbers -> codes of quantile ranges, for lists of numbers; has the interface of ``Vocabulary`` that bags use."""

    def __init__(self, edges: np.ndarray) -> None:
        self.edges = edges
        self.size = FIRST + len(edges) + 1

    def codes(self, values: pl.Series) -> np.ndarray:
        """int32 codes of a flat series; null and NaN -> MISSING."""
        numbers = as_float(values)
        codes = np.searchsorted(self.edges, numbers, side="right").astype(np.int32) + FIRST
        return np.where(np.isnan(numbers), np.int32(MISSING), codes)

    def state(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"edges": self.edges.tolist()}
