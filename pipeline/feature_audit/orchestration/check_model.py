"""check-model: checks a user's module or training job against its contract, on real rows, before an audit."""

from __future__ import annotations

from pathlib import Path

from feature_audit.config import AuditConfig
from feature_audit.errors import log_is_open
from feature_audit.fitting.cache import own_folder
from feature_audit.fitting.own_training import has_own_training
from feature_audit.importing import users_code
from feature_audit.models import ModelFinding, gated_table
from feature_audit.orchestration import job_contract, model_contract
from feature_audit.orchestration.settings import check_config
from feature_audit.orchestration.stage_run import load_key
from feature_audit.stages import load as load_stage


def check(config: AuditConfig) -> tuple[list[ModelFinding], list[str]]:
    """Run the contract's checks on the first train rows; the load stage is taken from the cache if possible.

    Returns:
        The findings, and lines that list the gated fields; no lines if a check failed.

    Raises:
        UsageError: a name is unknown.
        AuditError: the log or the model cannot be loaded.
    """
    config = load_stage.complete(config)
    check_config(config)
    with log_is_open(), users_code():
        with own_folder(Path(config.work_dir).resolve(), load_key(config)) as folder:
            prepared = load_stage.load(config, folder)
        if has_own_training(config):
            return job_contract.findings(config, prepared), []
        found = model_contract.findings(config, prepared)
        fits = all(finding.passed for finding in found)
        return found, gated_table(model_contract.gated(config, prepared)) if fits else []
