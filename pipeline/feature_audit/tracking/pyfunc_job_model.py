"""The registered version of an audit with an external training job, as loaded by MLflow.

Artifacts of a version: ``kept_features.txt`` and, if the job saved an MLflow model, that model in ``model``. Without a
model the version records the recommendation, and ``predict`` explains how to get scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext


class JobModel(PythonModel):
    """Scores raw rows with the kept columns by the job's model: a probability, a value, or one score per class."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the job's model, if there is one."""
        folder = Path(context.artifacts["pruned"])
        self._names = (folder / "kept_features.txt").read_text(encoding="utf-8").splitlines()
        self._model = mlflow.pyfunc.load_model(str(folder / "model")) if (folder / "model").is_dir() else None

    # As in `pyfunc_model.py`, without a type hint from which MLflow would infer a schema.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        """Score a pandas frame."""
        if self._model is None:
            raise MlflowException.invalid_parameter_value(
                f"This version records a recommendation of {len(self._names)} columns (kept_features.txt) and "
                "contains no model, because the models were trained by your own training job; run that job on these "
                "columns"
            )
        scores = np.asarray(self._model.predict(model_input))
        if scores.ndim == 2 and scores.shape[1] <= 2:  # one column, or both classes' probabilities
            return scores[:, -1]
        return scores


mlflow.models.set_model(JobModel())
