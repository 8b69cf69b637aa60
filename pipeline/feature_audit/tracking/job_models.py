"""MLflow models saved by an external training job: only the audited model may be registered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from feature_audit.errors import AuditError

#: Maximum relative difference between an audited score and the model's score.
_TOLERANCE = 1e-3


def check_job_model(model: Path, rows: Path, names: Sequence[str], scores: np.ndarray) -> None:
    """Refuse a model other than the one whose scores were audited.

    Args:
        model: folder of an MLflow model.
        rows: Parquet file of raw rows.
        names: the kept raw columns.
        scores: the job's scores of these rows, (rows,) or (rows, C).

    Raises:
        AuditError: the model cannot be loaded, reads other columns, or returns other scores.
    """
    import mlflow

    frame = pl.read_parquet(rows, columns=list(names)).to_pandas()
    try:
        found = np.asarray(mlflow.pyfunc.load_model(str(model)).predict(frame))
    except Exception as error:  # from the job's code, or from its signature's columns
        reason = " ".join(str(error).split())[:300]
        raise AuditError(
            f"{model}: cannot score rows of the {len(names)} kept columns ({type(error).__name__}: {reason})"
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
