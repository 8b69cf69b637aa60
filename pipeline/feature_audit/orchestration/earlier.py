"""An earlier audit named by ``--audit``: with a verdict it is never written again, without one it is continued."""

from __future__ import annotations

import logging

from feature_audit.config import AuditConfig
from feature_audit.orchestration.settings import check_config
from feature_audit.orchestration.stage_run import question_digest
from feature_audit.report import read_json
from feature_audit.results import AuditReport
from feature_audit.stages import load
from feature_audit.tracking import Run, open_parent

log = logging.getLogger(__name__)

QUESTION = "audit.question"
CONTINUES = "audit.continues"


def resume(run: Run, config: AuditConfig, name: str) -> Run | None:
    """The run in which an earlier audit continues.

    Args:
        run: the earlier audit's parent.
        config: the current configuration.
        name: name of a new run.

    Returns:
        The same run, if it has no verdict yet or its model still has to be registered; a new run that points to it, if
        the question differs; None, if it has already answered this question.

    Raises:
        UsageError, AuditError: the configuration or the data are invalid; no run was opened.
    """
    if not run.has_verdict:
        return run
    check_config(config)
    tags = run.tags()
    if tags.get(QUESTION) != question_digest(config, load.digest(config)):
        parent = open_parent(config.experiment, name)
        parent.tag({CONTINUES: run.id})
        log.info(
            "run %s already has a verdict and is not changed; this is a different question, recorded as run %s",
            run.id,
            parent.id,
        )
        return parent
    if run.is_running or (tags["audit.verdict"] == "pass" and "audit.recommendation" not in tags):
        return run
    log.info("run %s has already answered this question; it was not changed", run.id)
    return None


def report_of(run: Run) -> AuditReport:
    """The report of an audit with a verdict."""
    return read_json(run.read_text("report/report.json"))
