"""Artifacts from which a registered version is loaded: a network of this audit, or an external job's model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Encoders, Prepared, write_raw_splits
from feature_audit.orchestration import exports
from feature_audit.schema import ModelSchema
from feature_audit.stages.load import locate
from feature_audit.tracking import registry
from feature_audit.trainer import MODEL

#: Number of validation rows on which a job's model must reproduce the audited scores.
_CHECKED_ROWS = 200


def of_network(
    config: AuditConfig, prepared: Prepared, schema: ModelSchema, trained: Path, name: str, folder: Path
) -> None:
    """Write weights, encoders and the parameters for building the model.

    Args:
        config, prepared, schema: of the training.
        trained: the retrain stage's folder.
        name: name of the training in it.
        folder: folder to write to.
    """
    shutil.copy(trained / f"{name}.pt", folder / "weights.pt")
    Encoders.load(prepared.directory / "encoders.json").keep(schema.names).save(folder / "encoders.json")
    spec = {
        "model": config.model,
        "params": config.model_params,
        "attach": config.attach,
        "embedding_dim": config.training.embedding_dim,
        **schema.to_dict(),
    }
    (folder / "model.json").write_text(json.dumps(spec, indent=1), encoding="utf-8")


def of_job(
    config: AuditConfig, prepared: Prepared, names: tuple[str, ...], trained: Path, name: str, folder: Path
) -> None:
    """Write the kept columns and the job's MLflow model, if it reproduces the audited scores.

    Args:
        config, prepared: of the training.
        names: the kept columns.
        trained, name, folder: as for ``of_network``.

    Raises:
        AuditError: the model reads other columns or returns other scores.
    """
    (folder / "kept_features.txt").write_text(exports.name_lines(names), encoding="utf-8")
    model = trained / f"{name}.job" / "output" / MODEL
    if not model.is_dir():
        return
    scores = np.load(trained / f"{name}.npy")
    some = np.arange(min(len(scores), _CHECKED_ROWS))
    rows = folder / "rows.parquet"
    write_raw_splits(locate(config), prepared, names, {"validation": rows}, only={"validation": some})
    registry.check_job_model(model, rows, names, scores[some])
    rows.unlink()
    shutil.copytree(model, folder / MODEL)
