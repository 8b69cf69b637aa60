"""Encodes raw columns as model input: fitted on train, saved as JSON, with the same code for store and serving.

Each encoder handles one raw column: ``encode`` takes the raw series of any type and returns an array.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from feature_audit.batch import Batch
from feature_audit.data.encoding.encoders import (
    BagEncoder,
    CodeEncoder,
    DateEncoder,
    Encoder,
    NumericEncoder,
    VectorEncoder,
)
from feature_audit.errors import AuditError
from feature_audit.schema import Field, ModelSchema

_KINDS: dict[str, type[Encoder]] = {
    cls.tag: cls for cls in (NumericEncoder, CodeEncoder, BagEncoder, DateEncoder, VectorEncoder)
}


@dataclass(frozen=True)
class Encoders:
    """One encoder per usable column, in schema order."""

    by_name: Mapping[str, Encoder]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The encoded fields, in order."""
        return tuple(encoder.field for encoder in self.by_name.values())

    def keep(self, names: Iterable[str]) -> Encoders:
        """The encoders of the kept columns, in the same order."""
        kept = set(names)
        return Encoders({name: encoder for name, encoder in self.by_name.items() if name in kept})

    def encode(self, frame: pl.DataFrame, schema: ModelSchema) -> Batch:
        """Encode raw rows as one batch, without target, for a model of ``schema``.

        Args:
            frame: raw rows with at least the schema's columns. Unseen categories become OOV, nulls MISSING.
            schema: the fields of the model.

        Raises:
            AuditError: a column of the schema is missing, its type cannot be read as the trained kind, or a cell of
                a numeric column is not a number.
        """
        absent = [name for name in schema.names if name not in frame.columns]
        if absent:
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            raise AuditError(
                f"input: column {absent[0]}{more} is missing; the model needs {len(schema.fields)} columns"
            )
        parts: dict[str, list[np.ndarray]] = {"numeric": [], "code": [], "bag": [], "vector": []}
        for field in schema.fields:
            values = frame[field.name]
            self._check_numbers(field.name, values)
            parts[field.form].append(self.encode_column(field.name, values))
        rows = frame.height
        numeric = np.stack(parts["numeric"], axis=1) if parts["numeric"] else np.zeros((rows, 0), np.float32)
        codes = np.stack(parts["code"], axis=1) if parts["code"] else np.zeros((rows, 0), np.int32)
        return Batch(
            torch.from_numpy(numeric),
            torch.from_numpy(codes).long(),
            tuple(torch.from_numpy(bag).long() for bag in parts["bag"]),
            tuple(torch.from_numpy(vector) for vector in parts["vector"]),
            torch.zeros(0),
        )

    def missing(self, schema: ModelSchema) -> Batch:
        """One row whose cells are all missing, encoded as in serving."""
        return self.encode(pl.DataFrame({name: [None] for name in schema.names}), schema)

    def _check_numbers(self, name: str, values: pl.Series) -> None:
        """Refuse cells that would silently count as missing."""
        encoder = self.by_name[name]
        if not isinstance(encoder, NumericEncoder):
            return
        unread = encoder.unread(values)
        if unread.any():
            row = int(unread.arg_max() or 0)
            raise AuditError(
                f"input: column {name}: {values[row]!r} (row {row}) is not a number, but the model was trained on "
                "numbers; send a number, or null if it is missing"
            )

    def encode_column(self, name: str, values: pl.Series) -> np.ndarray:
        """One raw column -> float32 (B,) | int32 (B,) | int32 (B, width) | float32 (B, width), by its field's form.

        Raises:
            AuditError: the values' type cannot be read as the trained kind.
        """
        encoder = self.by_name[name]
        if values.null_count() == len(values) > 0:  # also a fast path: common in single rows and sparse fields
            return _missing_cells(encoder.field, len(values))
        try:
            return encoder.encode(values)
        except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
            text = " ".join(str(error).split())[:160]
            raise AuditError(
                f"input: column {name} of type {values.dtype} cannot be encoded as {encoder.tag} ({text})"
            ) from None

    def to_json(self) -> dict[str, Any]:
        """Everything needed to encode, as plain JSON values."""
        return {
            "version": 1,
            "hash_probe": _hash_probe(),
            "encoders": [encoder.state() for encoder in self.by_name.values()],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Encoders:
        """The inverse of ``to_json``.

        Raises:
            AuditError: values were hashed by a Polars version with another hash function.
        """
        hashed = [state["name"] for state in content["encoders"] if state.get("buckets")]
        if hashed and content["hash_probe"] != _hash_probe():
            raise AuditError(
                f"encoders: column {hashed[0]} uses hash_buckets of a Polars version other than {pl.__version__}; "
                "install the version used in training"
            )
        made = [_KINDS[state["tag"]].from_state(state) for state in content["encoders"]]
        return cls({encoder.name: encoder for encoder in made})

    def save(self, path: Path | str) -> None:
        """Write the encoders as JSON."""
        Path(path).write_text(json.dumps(self.to_json()), encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> Encoders:
        """Read a file written by ``save``.

        Raises:
            AuditError: the file is missing or is not an encoder file.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError) as error:
            raise AuditError(
                f"encoders={path}: not a readable encoder file ({type(error).__name__}: {error})"
            ) from None


def _missing_cells(field: Field, rows: int) -> np.ndarray:
    """The encoding of ``rows`` nulls: MISSING, padding and the mean of a vector are all zero."""
    shape = (rows, field.width) if field.form in ("bag", "vector") else (rows,)
    return np.zeros(shape, np.int32 if field.form in ("code", "bag") else np.float32)


def _hash_probe() -> int:
    """The installed Polars' hash of a fixed text; the hash function may change between versions."""
    return int(pl.Series(["feature-audit"]).hash(0)[0])
