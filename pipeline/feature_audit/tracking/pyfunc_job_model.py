"""The registered version of an audit whose models a team's own job trained, as MLflow loads it.

Artifacts of a version: ``kept_features.txt`` and, where the job left an MLflow model, that model in ``model``. Without
one the version records the recommendation, and its ``predict`` says where scores come from.
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
    """Scores raw rows that hold the kept columns with the job's own model: a probability, a value, or one per class."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the job's model, where there is one."""
        folder = Path(context.artifacts["pruned"])
        self._names = (folder / "kept_features.txt").read_text(encoding="utf-8").splitlines()
        self._model = mlflow.pyfunc.load_model(str(folder / "model")) if (folder / "model").is_dir() else None

    # As in `pyfunc_model.py`, without a type hint of the input that MLflow would make a schema of.
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
