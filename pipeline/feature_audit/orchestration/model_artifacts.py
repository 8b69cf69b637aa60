"""The registered version of an audit that passed: its artifacts, code, inputs and tags.

It is loaded from a network of this audit, or from an external job's model.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import concrete_selectors
import numpy as np

import feature_audit
from feature_audit.config import AuditConfig
from feature_audit.data import Encoders, Prepared, example_rows, write_raw_splits
from feature_audit.fitting.own_training import has_own_training
from feature_audit.models import is_installed, own_code
from feature_audit.orchestration import exports
from feature_audit.results import AuditReport
from feature_audit.schema import ModelSchema
from feature_audit.stages.load import locate
from feature_audit.stages.retrain import Retrained
from feature_audit.tracking import registry
from feature_audit.trainer import MODEL

#: Number of validation rows on which a job's model must reproduce the audited scores.
_CHECKED_ROWS = 200
#: Number of rows in the registered model's example.
_EXAMPLE_ROWS = 5


def register(
    run_id: str,
    config: AuditConfig,
    prepared: Prepared,
    pruned: Retrained,
    report: AuditReport,
    outcome_key: str,
    describe: Callable[[str], str],
) -> str:
    """Register the pruned model with the lowest validation loss; its inputs are exactly the kept raw columns.

    Args:
        run_id: the audit's run.
        config, prepared, pruned, report: of the audit.
        outcome_key: digest of the verdict.
        describe: the version's description, given its address.

    Returns:
        The version's address.

    Raises:
        AuditError: the registry refuses or does not respond, or a job's model does not reproduce the audited scores.
    """
    rung = pruned.at(report.k)
    names, shipped = rung.schema.names, rung.names[rung.best_seed]
    with tempfile.TemporaryDirectory() as name:
        folder, code = Path(name) / "pruned", Path(name) / "code"
        folder.mkdir()
        code.mkdir()
        own = has_own_training(config)
        if own:
            _of_job(config, prepared, names, pruned.folder.path, shipped, folder)
        else:
            _of_network(config, prepared, rung.schema, pruned.folder.path, shipped, folder)
        return registry.register(
            run_id=run_id,
            model_name=config.model_name,
            artifacts=folder,
            loader="pyfunc_job_model" if own else "pyfunc_model",
            code=[] if own else _code(config.model, code),
            inputs=_raw_inputs(prepared, names),
            example=example_rows(locate(config), prepared, names, _EXAMPLE_ROWS),
            tags=_version_tags(run_id, prepared, report, outcome_key),
            describe=describe,
        )


def _of_network(
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


def _of_job(
    config: AuditConfig, prepared: Prepared, names: tuple[str, ...], trained: Path, name: str, folder: Path
) -> None:
    """Write the kept columns and the job's MLflow model, if it reproduces the audited scores.

    Args:
        config, prepared: of the training.
        names: the kept columns.
        trained, name, folder: as for ``_of_network``.

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


def _version_tags(run_id: str, prepared: Prepared, report: AuditReport, outcome_key: str) -> dict[str, Any]:
    decision = report.deltas[0]
    time = prepared.split_info.get("time")
    return {
        "audit.key": outcome_key,
        "audit.verdict": report.verdict,
        "audit.run_id": run_id,
        "audit.k": report.k,
        "audit.n_features": report.n_features,
        "audit.metric": report.metric,
        "audit.margin": report.margin,
        "audit.delta": decision.delta,
        "audit.ci_low": decision.ci_low,
        "audit.ci_high": decision.ci_high,
        "audit.data_digest": prepared.digest,
        **exports.feast_tags(exports.feast_refs(row for row in report.decisions if row.decision == "keep")),
        **({registry.DATA_UNTIL: time["last"]} if time else {}),
    }


def _code(model: str, folder: Path) -> list[Path]:
    """Code that loading a registered model requires: this project's packages, and the user's own files.

    The user's files are copied into ``folder``, so that other files of their directory are not uploaded.
    """
    for place, file in own_code(model).items():
        if not is_installed(file):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / place)
    project = [Path(str(package.__file__)).resolve().parent for package in (feature_audit, concrete_selectors)]
    return [*project, *sorted(folder.iterdir())]


def _raw_inputs(prepared: Prepared, names: tuple[str, ...]) -> list[registry.RawInput]:
    columns = {column.name: column for column in prepared.columns}
    return [registry.RawInput(name, columns[name].dtype) for name in names]
