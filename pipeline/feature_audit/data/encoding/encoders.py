"""The five encoders: raw cells to knot positions, codes, bags of codes or vectors, one column at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import polars as pl

from feature_audit.data.columns.casting import (
    as_datetime,
    as_float,
    as_lists,
    as_matrix,
    date_part,
    epoch,
    is_missing,
    is_plain_number,
)
from feature_audit.data.columns.written_numbers import Form
from feature_audit.data.encoding.knots import Positions
from feature_audit.data.encoding.vocabulary import FIRST, Buckets, Vocabulary
from feature_audit.schema import MISSING, Field

#: Vector entries are clipped to this many standard deviations.
_MOST_DEVIATIONS = 1_000.0


class Encoder(ABC):
    """Encodes one raw column."""

    tag: ClassVar[str]
    name: str

    @property
    @abstractmethod
    def field(self) -> Field:
        """The encoded field."""

    @abstractmethod
    def encode(self, values: pl.Series) -> np.ndarray:
        """Raw cells -> encoded cells, same length."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Plain JSON values; ``from_state`` restores them."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: Mapping[str, Any]) -> Encoder:
        """Restore an encoder from ``state()``."""


@dataclass(frozen=True, eq=False)
class NumericEncoder(Encoder):
    """Position on train-quantile knots: 0 = missing, 1 + j on knot j, linear between knots, clamped outside.

    Text is parsed by ``form`` if the column has formatted numbers. ``moment``: the column held dates.
    """

    tag: ClassVar[str] = "numeric"
    name: str
    knots: np.ndarray
    form: Form | None = None
    moment: bool = False
    origin: int = 0  # position of the knot at the train median; 0 = unknown

    @property
    def field(self) -> Field:
        """Cardinality = 1 + number of knots."""
        return Field(self.name, "numeric", 1 + len(self.knots), origin=self.origin)

    def encode(self, values: pl.Series) -> np.ndarray:
        """Float32 (B,)."""
        if self.form is not None and values.dtype in (pl.String, pl.Categorical, pl.Enum):
            values = self.form.read(values.cast(pl.String))
        plain = is_plain_number(values.dtype) and (values.dtype.is_float() or not values.null_count())
        position = self._positions(values.to_numpy() if plain else as_float(values))
        position[np.isnan(position)] = MISSING
        return position

    def unread(self, values: pl.Series) -> pl.Series:
        """True for non-missing cells that are not numbers: words, another decimal separator, dates among numbers."""
        if values.dtype in (pl.Date, pl.Datetime):
            return values.is_not_null() & (not self.moment)
        if values.dtype not in (pl.String, pl.Categorical, pl.Enum):
            return pl.Series(np.zeros(len(values), np.bool_))
        text = values.cast(pl.String)
        read = as_float(text) if self.form is None else self.form.read(text).to_numpy()
        return ~is_missing(text) & pl.Series(np.isnan(read), dtype=pl.Boolean)

    @cached_property
    def _positions(self) -> Positions:
        return Positions(self.knots)

    def state(self) -> dict[str, Any]:
        """Knots as a list, and the form of text."""
        own = {"tag": self.tag, "name": self.name, "knots": self.knots.tolist(), "moment": self.moment}
        return own | {"origin": self.origin} | ({"form": self.form.state()} if self.form else {})

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> NumericEncoder:
        """See ``Encoder``."""
        form = Form.from_state(state["form"]) if "form" in state else None
        knots = np.asarray(state["knots"], dtype=np.float64)
        return cls(state["name"], knots, form, state.get("moment", False), state.get("origin", 0))


@dataclass(frozen=True, eq=False)
class CodeEncoder(Encoder):
    """One code per cell: 0 = missing, 1 = out of vocabulary or rare, then the values by decreasing frequency."""

    tag: ClassVar[str] = "code"
    name: str
    vocabulary: Vocabulary

    @property
    def field(self) -> Field:
        """Cardinality counts MISSING and OOV."""
        return Field(self.name, "code", self.vocabulary.size)

    def encode(self, values: pl.Series) -> np.ndarray:
        """int32 (B,)."""
        return self.vocabulary.codes(values)

    def state(self) -> dict[str, Any]:
        """Values in code order."""
        return {"tag": self.tag, "name": self.name, **self.vocabulary.state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CodeEncoder:
        """See ``Encoder``."""
        return cls(state["name"], Vocabulary(state["key"], state["values"], state["buckets"]))


@dataclass(frozen=True, eq=False)
class BagEncoder(Encoder):
    """``width`` entries of a list as codes, 0 = padding; text is first split by its list format ``separator``.

    Longer lists are cut to the entries at ``end``, the most recent ones. Entries are looked up as categories; numbers
    with fractions are assigned to quantile ranges.
    """

    tag: ClassVar[str] = "bag"
    name: str
    vocabulary: Vocabulary | Buckets
    width: int
    separator: str | None = None
    end: str = "first"

    @property
    def field(self) -> Field:
        """Cardinality counts padding and OOV."""
        return Field(self.name, "bag", self.vocabulary.size, self.width)

    def encode(self, values: pl.Series) -> np.ndarray:
        """int32 (B, width)."""
        whole = as_lists(values, self.separator or "|").list
        lists = whole.tail(self.width) if self.end == "last" else whole.head(self.width)
        lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        codes = np.zeros((len(values), self.width), np.int32)
        entries = lists.drop_nulls().list.explode(empty_as_null=False) if lengths.any() else None
        if entries is not None:
            row = np.repeat(np.arange(len(values)), lengths)
            place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            codes[row, place] = self.vocabulary.codes(entries)
        return codes

    def state(self) -> dict[str, Any]:
        """Values in code order."""
        own = {"tag": self.tag, "name": self.name, "width": self.width, "separator": self.separator, "end": self.end}
        return {**own, **self.vocabulary.state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> BagEncoder:
        """See ``Encoder``."""
        known = (
            Buckets(np.asarray(state["edges"], np.float64))
            if "edges" in state
            else Vocabulary(state["key"], state["values"], state["buckets"])
        )
        end = state.get("end", "first")  # models registered before this option existed used the first entries
        return cls(state["name"], known, state["width"], state["separator"], end)


#: Parts of a datetime -> number of values; ``age`` is the quantile bucket of the moment itself.
DATE_PARTS = {"hour": 24, "weekday": 7, "day": 31, "month": 12}


@dataclass(frozen=True, eq=False)
class DateEncoder(Encoder):
    """A datetime as a bag of its parts in one joint vocabulary; null = all padding."""

    tag: ClassVar[str] = "datetime"
    name: str
    parts: tuple[str, ...]
    edges: np.ndarray
    format: str | None = None

    @property
    def field(self) -> Field:
        """One code per part and one for the age bucket."""
        size = FIRST + sum(DATE_PARTS[part] for part in self.parts) + len(self.edges) + 1
        return Field(self.name, "bag", size, len(self.parts) + 1)

    def encode(self, values: pl.Series) -> np.ndarray:
        """int32 (B, parts + 1)."""
        moments = as_datetime(values, self.format)
        codes = np.zeros((len(values), len(self.parts) + 1), np.int32)
        first = FIRST
        for place, part in enumerate(self.parts):
            codes[:, place] = date_part(moments, part) + first
            first += DATE_PARTS[part]
        codes[:, -1] = np.searchsorted(self.edges, epoch(moments), side="right") + first
        codes[np.isnat(moments.to_numpy())] = MISSING
        return codes

    def state(self) -> dict[str, Any]:
        """Part names and bucket edges (microseconds since 1970)."""
        own = {"tag": self.tag, "name": self.name, "parts": list(self.parts), "format": self.format}
        return {**own, "edges": self.edges.tolist()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> DateEncoder:
        """See ``Encoder``."""
        return cls(state["name"], tuple(state["parts"]), np.asarray(state["edges"], np.float64), state["format"])


@dataclass(frozen=True, eq=False)
class VectorEncoder(Encoder):
    """A fixed-size vector, standardised per element; null, wrong length and non-finite entries become the mean."""

    tag: ClassVar[str] = "vector"
    name: str
    mean: np.ndarray
    scale: np.ndarray

    @property
    def field(self) -> Field:
        """Width = length of the vector."""
        return Field(self.name, "vector", 0, len(self.mean))

    def encode(self, values: pl.Series) -> np.ndarray:
        """float32 (B, width)."""
        raw = as_matrix(values, len(self.mean))
        scaled = (raw - self.mean) / self.scale
        bounded = np.clip(scaled, -_MOST_DEVIATIONS, _MOST_DEVIATIONS)  # an outlier must not become infinite
        return np.where(np.isfinite(scaled), bounded, 0.0).astype(np.float32)

    def state(self) -> dict[str, Any]:
        """Mean and scale as lists."""
        return {"tag": self.tag, "name": self.name, "mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> VectorEncoder:
        """See ``Encoder``."""
        return cls(state["name"], np.asarray(state["mean"]), np.asarray(state["scale"]))
