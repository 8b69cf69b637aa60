"""MLflow models that a team's own training job leaves: only the one that was audited may be registered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from feature_audit.errors import AuditError

#: Largest difference between a score that was audited and the one that the model gives.
_TOLERANCE = 1e-3


def check_job_model(model: Path, rows: Path, names: Sequence[str], scores: np.ndarray) -> None:
    """Refuse a model that is not the one whose scores were audited.

    Args:
        model: folder of an MLflow model.
        rows: Parquet file of raw rows.
        names: the kept raw columns.
        scores: that the job gave for these rows, (rows,) or (rows, C).

    Raises:
        AuditError: it cannot be loaded, reads other columns, or gives other scores.
    """
    import mlflow

    frame = pl.read_parquet(rows, columns=list(names)).to_pandas()
    try:
        found = np.asarray(mlflow.pyfunc.load_model(str(model)).predict(frame))
    except Exception as error:  # of the job's own code, or of the columns that its signature names
        said = " ".join(str(error).split())[:300]
        raise AuditError(
            f"{model}: cannot score rows of the {len(names)} kept columns ({type(error).__name__}: {said})"
        ) from error
    found = found[:, -1] if found.ndim == 2 and found.shape[1] <= 2 else found
    if found.shape != scores.shape:
        raise AuditError(
            f"{model}: returns scores of shape {found.shape}, but those of the job have {scores.shape}; save the "
            "model that made them"
        )
    apart = float(np.abs(found.astype(np.float64) - scores).max())
    scale = max(1.0, float(np.abs(scores).max()))
    if not apart <= _TOLERANCE * scale:
        raise AuditError(
            f"{model}: its scores differ by up to {apart:.3g} from those of the job; save the model that made them "
            "(for scikit-learn, with pyfunc_predict_fn='predict_proba')"
        )
