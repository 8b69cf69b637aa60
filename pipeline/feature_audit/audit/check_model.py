"""check-model: does a user's module fit the model contract? Asked on real rows, before an audit is paid for."""

from __future__ import annotations

from pathlib import Path

from feature_audit.audit import model_contract
from feature_audit.audit.settings import check_config
from feature_audit.audit.stage_run import load_key
from feature_audit.config import AuditConfig
from feature_audit.errors import log_is_open
from feature_audit.fitting.cache import own_folder
from feature_audit.importing import users_code
from feature_audit.models import ModelFinding, gated_table
from feature_audit.stages import load as load_stage


def check(config: AuditConfig) -> tuple[list[ModelFinding], list[str]]:
    """Run the contract's checks on the first train rows; the load stage comes from the cache where it can.

    Returns:
        the findings, and lines that say what will be gated: none where a check failed.

    Raises:
        UsageError: an unknown name.
        AuditError: the log or the model cannot be loaded.
    """
    config = load_stage.complete(config)
    check_config(config)
    with log_is_open(), users_code():
        with own_folder(Path(config.work_dir).resolve(), load_key(config)) as folder:
            prepared = load_stage.load(config, folder)
        found = model_contract.findings(config, prepared)
        fits = all(finding.passed for finding in found)
        return found, gated_table(model_contract.gated(config, prepared)) if fits else []
