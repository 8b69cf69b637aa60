"""One audit from log to recommendation: load > baseline > select > retrain > parity, cached, under one parent run."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.disk import room_in
from feature_audit.engine import Engine, job_threads, opened, tune_process
from feature_audit.errors import AuditError, log_is_open
from feature_audit.fitting import soundness
from feature_audit.fitting.cache import StageFolder
from feature_audit.fitting.checkpoint import checkpoint_digest
from feature_audit.fitting.looks import Look, coming_look, learn_looks
from feature_audit.fitting.trained import open_store
from feature_audit.importing import users_code
from feature_audit.memory import memory_for
from feature_audit.orchestration import earlier, model_contract, publish
from feature_audit.orchestration.cost_plan import cost_plan
from feature_audit.orchestration.decisions import decide_features
from feature_audit.orchestration.ending import End, end_without_verdict, ended, not_registered, point, terminal_lines
from feature_audit.orchestration.margins import with_margins
from feature_audit.orchestration.report_data import build_report
from feature_audit.orchestration.savings import sized, with_savings
from feature_audit.orchestration.settings import check_config, keep_given, keep_resolved, with_metric
from feature_audit.orchestration.stage_run import StageRun, asked_of_test, question_digest, run_stage, training_inputs
from feature_audit.plurals import counted
from feature_audit.report import plan_sentence
from feature_audit.results import AuditReport, CostPlan, FeatureDecision, StageCost
from feature_audit.selection import Constraints, Selection
from feature_audit.stages import baseline, load, parity, retrain, select
from feature_audit.tracking import (
    Run,
    driver_run,
    find_run,
    open_parent,
    quietly,
    registry,
    store_may_be_lost,
)

log = logging.getLogger(__name__)

_AGAIN = "the same command then continues from the last finished stage without repeating any training"

#: The report (None before parity), and the problem that prevents registration of a model that passed.
Found = tuple[AuditReport | None, str | None]


def run_audit(config: AuditConfig, *, until: str = "parity", audit: str | None = None) -> End:
    """Run an audit up to a stage.

    Args:
        config: the checked configuration.
        until: the last stage to run.
        audit: parent run of an earlier audit to continue, or None for a new one.

    Returns:
        The verdict, or None if parity was not reached, and a summary for a terminal.

    Raises:
        AuditError: an error that the user can fix; the parent run then has the tag ``audit.verdict = error``.
    """
    tune_process(job_threads(config.threads, config.workers))
    config = load.complete(config)
    name = publish.data_name(config)
    driver = driver_run()  # read now, because MLflow removes its id from the environment when the model is logged
    title = f"audit of {name}"
    before = find_run(audit) if audit else None
    parent = earlier.resume(before, config, title) if before else open_parent(config.experiment, title)
    if before and parent is None:
        answer = earlier.report_of(before)
        point(driver, before, answer, name)
        return End(answer.verdict, terminal_lines(before, answer), run_id=before.id, report=answer)
    assert parent is not None
    started = time.perf_counter()
    try:
        folder = Path(config.work_dir).resolve()
        with users_code(), memory_for("the audit"), room_in(folder, "the audit's results"), store_may_be_lost(_AGAIN):
            report, problem = _run(config, parent, until, started)
            return ended(parent, driver, report, problem, config, until)
    except BaseException as error:
        with quietly():
            end_without_verdict(parent, name, error)
        raise


def _run(config: AuditConfig, parent: Run, until: str, started: float) -> Found:
    check_config(config)
    if until == "parity":
        registry.check_ready(config.model_name)
    keep_given(parent, config)
    keep_resolved(parent, config)
    with log_is_open(), opened(config) as engine:
        return _run_stages(config, parent, until, started, engine)


@dataclass(frozen=True)
class _Proposal:
    """Results before the retraining; ``encoded`` are the inputs of a training's cache key."""

    config: AuditConfig
    margin_share: str | None
    prepared: Prepared
    encoded: dict[str, str]
    full: baseline.Baseline
    constraints: Constraints
    plan: CostPlan
    selection: Selection
    decisions: list[FeatureDecision]
    stages: tuple[StageRun[Any], ...]
    costs: list[StageCost]


def _run_stages(config: AuditConfig, parent: Run, until: str, started: float, engine: Engine) -> Found:
    proposal = _propose(config, parent, until, engine)
    return _prove(proposal, parent, until, started, engine) if proposal is not None else (None, None)


def _propose(config: AuditConfig, parent: Run, until: str, engine: Engine) -> _Proposal | None:
    """load, baseline, select; None if the audit ends with one of them."""
    data = load.digest(config)
    parent.tag({earlier.QUESTION: question_digest(config, data)})
    loaded = run_stage(parent, config, "load", {"data": data}, lambda folder, _: load.load(config, folder))
    prepared = loaded.result
    costs = [loaded.cost(0.0, f"{sum(prepared.rows.values()):,} rows")]
    encoded = training_inputs(config, prepared)
    config = with_metric(config, prepared)
    keep_resolved(parent, config)
    parity.foresee(config, open_store(config, prepared))
    select.foresee(config, open_store(config, prepared))
    constraints = select.constraints_of(config, prepared)
    if constraints.note:
        log.info("load: %s", constraints.note)
    publish.data(parent, config, prepared)
    if until == "load":
        return None

    inputs = {**encoded, "checkpoint": checkpoint_digest(config)}
    trained = run_stage(parent, config, "baseline", inputs, partial(_train_full, engine, config, prepared))
    full = trained.result
    costs.append(trained.cost(full.trainings, full.origin, seconds=full.seconds))
    config, shares = with_margins(parent, config, prepared, full), config.shares
    log.info("baseline: %s", soundness.line(config, full.facts.metric, full.references))
    if until == "baseline":
        return None

    plan = cost_plan(config, prepared, full, constraints)
    log.info("select: plan: %s", plan_sentence(plan))
    inputs = {"baseline": trained.digest, "rules": load.rules_digest(prepared)}
    selected = run_stage(
        parent,
        config,
        "select",
        inputs,
        lambda folder, run: select.select(
            config, prepared, full, constraints, folder, partial(publish.trial, run), engine
        ),
    )
    selection = selected.result
    tried = f"{counted(len(selection.masks), 'trial')}, {counted(selection.n_confirmations, 'confirmation')}"
    tried += ", 1 reference model" if full.reference else ""
    costs.append(selected.cost(full.reference_cost + selection.compute / full.facts.compute, tried))
    log.info("select: %s", selection.reason)
    decisions = sized(config, prepared, full, decide_features(prepared, constraints, selection, selected.folder))
    publish.selection(parent, selection, decisions)
    if until == "select":
        return None
    stages = (loaded, trained, selected)
    return _Proposal(
        config, shares.get("margin"), prepared, encoded, full, constraints, plan, selection, decisions, stages, costs
    )


def _prove(known: _Proposal, parent: Run, until: str, started: float, engine: Engine) -> Found:
    """retrain and parity, and publication of their results."""
    config, prepared, full, selection = known.config, known.prepared, known.full, known.selection
    loaded, trained, selected = known.stages
    # The key depends on the chosen features only: if another margin leads to the same features, no training is
    # repeated.
    inputs = {**known.encoded, "features": json.dumps(retrain.features_of(prepared, selection), ensure_ascii=False)}
    compared = "none" if full.references.boosting.reference is None else "compared"
    judged_on = {"baseline": trained.digest, "store": prepared.digest, "boosting": compared}
    asked = asked_of_test(config, inputs, judged_on)
    look = _coming_look(config, prepared, parent, asked)
    work = partial(_train_pruned, engine, config, prepared, full, selection, look)
    retrained = run_stage(parent, config, "retrain", inputs, work)
    pruned = retrained.result
    compute = pruned.compute / full.facts.compute
    costs = [*known.costs, retrained.cost(compute, pruned.describe(), seconds=pruned.seconds)]
    if until == "retrain":
        return None, None

    inputs = {"retrain": retrained.digest, **judged_on, "trainings": pruned.describe()}
    judged = run_stage(parent, config, "parity", inputs, partial(_judge, config, prepared, full, pruned, parent, asked))
    costs.append(judged.cost(0.0, f"{prepared.rows['test']:,} test rows"))
    outcome, decisions = judged.result, known.decisions
    if outcome.k != selection.k:  # the smallest proven K differs from the K proposed by validation
        selection = selection.at(outcome.k)
        decided = decide_features(prepared, known.constraints, selection, selected.folder)
        decisions = sized(config, prepared, full, decided)
        publish.selection(parent, selection, decisions)
    ran = sum(stage.seconds for stage in (loaded, trained, selected, retrained) if not stage.cached)
    other_seconds = time.perf_counter() - started - ran
    report = build_report(
        config, prepared, full, known.constraints, selection, pruned, outcome, decisions, costs, known.plan,
        other_seconds, parent.id,
    )  # fmt: skip
    report = replace(report, margin_share=known.margin_share)
    report = with_savings(config, prepared, full, pruned, report)
    publish.outcome(parent, config, outcome, report, time.perf_counter() - started)
    try:
        return publish.recommend(parent, config, prepared, pruned, report, judged.digest), None
    except AuditError as error:
        return report, not_registered(parent, config, report, error)


def _train_full(
    engine: Engine, config: AuditConfig, prepared: Prepared, folder: StageFolder, run: Run
) -> baseline.Baseline:
    if not folder.done:
        model_contract.require(config, prepared)
    trained = baseline.baseline(config, prepared, folder, engine)
    run.history(trained.facts.history, "baseline")
    return trained


def _train_pruned(
    engine: Engine,
    config: AuditConfig,
    prepared: Prepared,
    full: baseline.Baseline,
    selection: Selection,
    look: Look,
    folder: StageFolder,
    run: Run,
) -> retrain.Retrained:
    pruned = retrain.retrain(config, prepared, full, selection, folder, look, engine)
    for rung in pruned.rungs:
        for number, facts in enumerate(rung.facts):
            run.history(facts.history, f"retrain_{rung.k}_{number}")
    return pruned


def _judge(
    config: AuditConfig,
    prepared: Prepared,
    full: baseline.Baseline,
    pruned: retrain.Retrained,
    parent: Run,
    asked: str,
    folder: StageFolder,
    _: Run,
) -> parity.Outcome:
    """Look at the test rows, taking into account the experiment's earlier looks, and record this look."""
    _learn_looks(config, prepared, parent)
    outcome = parity.parity(config, prepared, full, pruned, folder, asked)
    publish.look(parent, prepared, outcome)
    return outcome


def _learn_looks(config: AuditConfig, prepared: Prepared, parent: Run) -> None:
    tags = parent.tags_of_siblings(publish.FAMILY, prepared.family)
    records = [one[publish.LOOK_RECORD] for one in tags if publish.LOOK_RECORD in one]
    learn_looks(Path(config.work_dir).resolve(), prepared.family, records)


def _coming_look(config: AuditConfig, prepared: Prepared, parent: Run, asked: str) -> Look:
    """The look of the verdict: trainings are planned for its confidence."""
    _learn_looks(config, prepared, parent)
    work_dir = Path(config.work_dir).resolve()
    return coming_look(work_dir, prepared.family, asked, planned=config.looks, confidence=config.confidence)
