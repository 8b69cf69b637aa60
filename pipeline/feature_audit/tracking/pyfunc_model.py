"""The registered model, as loaded by MLflow (models-from-code: no pickle).

Artifacts of a version: ``weights.pt`` (tensors only), ``encoders.json`` (fitted on train, kept columns only),
``model.json`` (model name, its parameters, the encoded schema, the task) and ``SHA256SUMS`` of these and the code.
"""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any, cast

import mlflow
import numpy as np
import pandas as pd
import polars as pl
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext

#: Up to this many rows, a pandas frame is converted column by column in Python.
_FEW_ROWS = 100
_NUMBERS = "biuf"  # kinds of NumPy types: booleans, integers, floats
#: Set by ``mlflow models serve`` in the processes that score.
_SERVER_VARIABLE = "__pyfunc_model_path__"


class PrunedModel(PythonModel):
    """Scores raw rows with the kept columns: a probability, a value, one score per class, or one column per target."""

    def load_context(self, context: PythonModelContext) -> None:
        """Rebuild encoders and model from the version's artifacts."""
        import torch

        from feature_audit.data import Encoders
        from feature_audit.importing import import_packed
        from feature_audit.models import build_model
        from feature_audit.schema import ModelSchema
        from feature_audit.tracking.checksums import check_checksums

        torch.set_num_threads(1)  # a server scores small batches, for which more threads only add overhead
        folder = Path(context.artifacts["pruned"])
        check_checksums(folder)
        spec = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self._schema = ModelSchema.from_dict(spec)
        if ":" in spec["model"]:
            import_packed("model", spec["model"], folder.parents[1] / "code")  # where MLflow puts `code_paths`
        self._encoders = Encoders.load(folder / "encoders.json")
        self._model = build_model(
            spec["model"],
            self._schema,
            embedding_dim=spec["embedding_dim"],
            params=spec["params"],
            attach=spec["attach"],
        )
        self._model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True, map_location="cpu"))
        self._model.eval()
        if _SERVER_VARIABLE in os.environ:
            # A full collection visits every object of the imported libraries, which takes 0.2 s during a request.
            gc.collect()
            gc.freeze()

    # Without a type hint MLflow warns during an audit; from most hints it infers a schema, but not from this one.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """Score a pandas or Polars frame, or a list of row dicts: an array, or with several targets one column each."""
        from feature_audit.models import scores

        rows = _as_polars(model_input)
        _check_columns(rows, self._schema.names)
        schema = self._schema
        found = scores(self._model, self._encoders.encode(rows, schema), task=schema.task, outputs=schema.outputs)
        return pd.DataFrame(found, columns=[one.name for one in schema.outputs]) if schema.outputs else found


def _check_columns(rows: pl.DataFrame, names: tuple[str, ...]) -> None:
    """Check inputs that MLflow's signature does not check: Polars frames and the unwrapped model."""
    missing = [name for name in names if name not in rows.columns]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise MlflowException.invalid_parameter_value(
            f"Model is missing inputs {missing[:5]}{more}; it needs {len(names)} columns, whose cells may be missing"
        )


def _as_polars(rows: Any) -> pl.DataFrame:
    if isinstance(rows, pl.LazyFrame):
        return rows.collect()
    if isinstance(rows, pl.DataFrame):
        return rows
    if isinstance(rows, list):
        return pl.from_dicts(rows, infer_schema_length=None)
    try:
        if len(rows) > _FEW_ROWS:
            return pl.from_pandas(rows)
        return pl.DataFrame([column.alias(str(name)) for name, column in zip(rows.columns, _few(rows), strict=True)])
    except (OverflowError, TypeError, ValueError):  # Arrow: no integers beyond 2^63, no mixed columns
        return pl.DataFrame([_every_digit(str(name), cells) for name, cells in rows.items()])


def _few(rows: pd.DataFrame) -> list[pl.Series]:
    """Convert each column as ``pl.from_pandas`` does.

    On a whole frame, ``pl.from_pandas`` takes 40 to 80 us per column regardless of length, and waits for a thread pool.
    """
    if all(_is_text(dtype) for dtype in rows.dtypes):  # read at once: accessing a pandas column takes 12 us
        table = rows.to_numpy(dtype=object)
        held = [table[:, place].tolist() for place in range(table.shape[1])]
        if all(type(cell) is str for column in held for cell in column):
            return [pl.Series(column, dtype=pl.String) for column in held]
    return [_few_cells(cells) for _, cells in rows.items()]


def _few_cells(cells: pd.Series) -> pl.Series:
    if isinstance(cells.dtype, np.dtype) and cells.dtype.kind in _NUMBERS:
        return pl.Series(cells.to_numpy(), nan_to_null=True)
    return cast(pl.Series, pl.from_pandas(cells))


def _is_text(dtype: Any) -> bool:
    return isinstance(dtype, pd.StringDtype) or pd.api.types.is_object_dtype(dtype)


def _every_digit(name: str, cells: pd.Series) -> pl.Series:
    """One pandas column, keeping every digit of its integers."""
    if cells.dtype != object:
        return pl.from_pandas(cells.to_frame(name))[name]
    return pl.Series(name, cells.where(cells.notna(), None).tolist(), strict=False)


mlflow.models.set_model(PrunedModel())
