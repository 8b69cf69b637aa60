"""One audit from log to recommendation: load > baseline > select > retrain > parity, cached, under one parent run."""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from concrete_selectors import SELECTORS

from feature_audit.audit import model_contract, publish
from feature_audit.audit.decisions import decide_features
from feature_audit.audit.plan import cost_plan
from feature_audit.audit.report_data import build_report
from feature_audit.config import DEFAULT_METRIC, AuditConfig
from feature_audit.config_files import given_values, load_config
from feature_audit.data import RULES, Prepared
from feature_audit.errors import AuditError, UsageError, log_is_open
from feature_audit.fitting.cache import StageFolder, StageKey, open_folder, stage_key
from feature_audit.fitting.process import tune_process
from feature_audit.fitting.trained import Trained
from feature_audit.masking import MASK, masked_values
from feature_audit.metric_names import parse_metric
from feature_audit.models import MODELS, check_arguments, own_code_digest
from feature_audit.report import counted, plan_sentence, promote_command, verdict_sentence
from feature_audit.results import AuditReport, StageCost
from feature_audit.selection import Selection
from feature_audit.stages import baseline as baseline_stage
from feature_audit.stages import load as load_stage
from feature_audit.stages import parity as parity_stage
from feature_audit.stages import retrain as retrain_stage
from feature_audit.stages import select as select_stage
from feature_audit.tracking import Run, driver_run, error_note, find_run, open_parent, registry, where_to_look

log = logging.getLogger(__name__)

RESOLVED = "config/resolved.yaml"
#: The configuration before the data filled in task and metric: what a continued audit starts from, so that its cache
#: keys are those of the first run.
GIVEN = "config/given.yaml"
KEYS = {
    "load": load_stage.KEYS,
    "baseline": baseline_stage.KEYS,
    "select": select_stage.KEYS,
    "retrain": retrain_stage.KEYS,
    "parity": parity_stage.KEYS,
}

Result = TypeVar("Result")


@dataclass
class _Audit:
    """What the stages of one audit share: configuration, parent run, folders, costs."""

    config: AuditConfig
    parent: Run
    until: str
    digest: str = ""
    costs: list[StageCost] = field(default_factory=list)

    def stage(self, name: str, inputs: dict[str, str], work: Callable[[StageFolder, Run], Result]) -> Result:
        """Run one stage in a nested run; its folder is named after everything it depends on."""
        key = _key(name, self.config, inputs)
        folder = open_folder(Path(self.config.work_dir).resolve(), key)
        with self.parent.child(name, {"audit.stage": name, "audit.cached": folder.done}) as run:
            started = time.perf_counter()
            self.cached = folder.done
            result = work(folder, run)
            self.seconds = _seconds(folder, time.perf_counter() - started, cached=self.cached)
            run.metrics({"cost/seconds": self.seconds})
        self.digest = key.digest
        return result

    def spent(self, stage: str, full_trainings: float, seconds: float | None = None, detail: str = "") -> None:
        """Note a stage's cost; a cached stage counts what it cost when it ran."""
        detail = "; ".join(filter(None, (detail, "reused from an earlier run" if self.cached else "")))
        self.costs.append(StageCost(stage, self.seconds if seconds is None else seconds, full_trainings, detail))


@dataclass(frozen=True)
class End:
    """How an audit ended.

    Attributes:
        verdict: None before parity.
        lines: what a terminal shows.
        problem: why a model that passed is not registered, with the remedy; None where all is well.
    """

    verdict: str | None
    lines: list[str]
    problem: str | None = None


def run_audit(config: AuditConfig, *, until: str = "parity", audit: str | None = None) -> End:
    """Run an audit up to a stage.

    Args:
        config: the checked configuration.
        until: the last stage to run.
        audit: parent run of an earlier audit to continue, or None for a new one.

    Returns:
        The verdict, or None if parity was not reached, and a summary for a terminal.

    Raises:
        AuditError: anything a user can mend; the parent run then carries ``audit.verdict = error``.
    """
    tune_process(config.threads)
    config = load_stage.complete(config)
    name = publish.data_name(config)
    parent = find_run(audit) if audit else open_parent(config.experiment, f"audit of {name}")
    driver = driver_run()  # now: MLflow takes its id out of the environment when the model is logged
    started = time.perf_counter()
    try:
        report, problem = _run(_Audit(config, parent, until), started)
    except (KeyboardInterrupt, SystemExit):
        _end_without_verdict(parent, f"interrupted: {name}", "interrupted; the same command continues from the last "
                             "finished stage", "KILLED")  # fmt: skip
        raise
    except BaseException as error:
        line = " ".join(str(error).split()) or type(error).__name__
        _end_without_verdict(parent, f"error: {name}", line, "FAILED")
        raise
    if report is None:
        parent.rename(f"{until} done: {name}")
        parent.end("FINISHED")
        return End(None, [f"{until} is done; run {parent.id}, continue with --audit {parent.id}"])
    parent.end("FAILED" if problem else "FINISHED")
    if driver is not None and driver.id != parent.id:  # `mlflow run -e parity -P audit=...`: its own run points here
        driver.tag({"audit.verdict": report.verdict, "audit.parent": parent.id})
        driver.rename(f"{report.verdict}: continues {parent.id[:8]}, {name}")
    lines = [f"{report.verdict}: {verdict_sentence(report)}", f"run {parent.id}, artifact report/index.html"]
    lines += where_to_look(parent.id)
    if report.recommendation:
        lines.append(f"recommended: {report.recommendation}; promote it with: {promote_command(report)}")
    return End(report.verdict, lines, problem)


def _end_without_verdict(parent: Run, name: str, line: str, status: str) -> None:
    """Mark the run as broken off; a verdict that it has already, and what explains it, stay."""
    if not parent.has_verdict:
        parent.tag({"audit.verdict": "error"})
        parent.rename(name)
        parent.describe(error_note(line))
        parent.end(status)
    elif parent.is_running:
        parent.end(status)


def config_of(audit: str, files: str | None, given: dict[str, Any]) -> AuditConfig:
    """The configuration of an earlier audit, with what was given now on top.

    Raises:
        AuditError: no such run, or it is not an audit's parent.
        UsageError: a given value does not fit, or the data's address had credentials, which no run keeps.
    """
    config = load_config(files, given, base=yaml.safe_load(find_run(audit).read_text(GIVEN)))
    if MASK in config.data:
        raise UsageError(f"data={config.data}: run {audit} keeps no credentials; give data again, with them")
    return config


def _seconds(folder: StageFolder, measured: float, *, cached: bool) -> float:
    """What the stage took when it ran, kept beside its results."""
    path = folder.path / "seconds.txt"
    if not cached:
        path.write_text(str(measured), encoding="utf-8")
    return float(path.read_text(encoding="utf-8")) if path.is_file() else measured


def load_key(config: AuditConfig) -> StageKey:
    """Key of the load stage."""
    return _key("load", config, {"data": load_stage.digest(config)})


def _without_rules(config: AuditConfig) -> AuditConfig:
    """The configuration with the rules about columns at their defaults."""
    plain = AuditConfig()
    return config.model_copy(update={key: getattr(plain, key) for key in RULES})


def _key(name: str, config: AuditConfig, inputs: dict[str, str]) -> StageKey:
    values = masked_values(config.model_dump(mode="json"))  # markers and messages of the cache show them
    return stage_key(name, config={key: values[key] for key in KEYS[name]}, inputs=inputs)


def _run(audit: _Audit, started: float) -> tuple[AuditReport | None, str | None]:
    """The report, None before parity; and what keeps a model that passed from being registered."""
    check_config(audit.config)
    if audit.until == "parity":
        registry.check_ready(audit.config.model_name)
    audit.parent.text(_as_yaml(masked_values(given_values(audit.config))), GIVEN)
    _note_config(audit.parent, audit.config)
    with log_is_open():
        return _run_stages(audit, started)


def _note_config(parent: Run, config: AuditConfig) -> None:
    parent.text(_as_yaml(publish.shown(config)), RESOLVED)
    publish.params(parent, config)


def _run_stages(audit: _Audit, started: float) -> tuple[AuditReport | None, str | None]:
    config, parent = audit.config, audit.parent
    prepared = audit.stage(
        "load", {"data": load_stage.digest(config)}, lambda folder, run: load_stage.load(config, folder)
    )
    encoded = _training_inputs(config, prepared)
    audit.spent("load", 0.0, detail=f"{sum(prepared.rows.values()):,} rows")
    audit.config = config = _with_metric(config, prepared)
    _note_config(parent, config)
    constraints = select_stage.constraints_of(config, prepared)
    if constraints.note:
        log.info("load: %s", constraints.note)
    publish.data(parent, config, prepared)
    if audit.until == "load":
        return None, None

    def train_full(folder: StageFolder, run: Run) -> Trained:
        if not folder.done:
            model_contract.require(config, prepared)
        trained = baseline_stage.baseline(config, prepared, folder)
        run.history(trained.facts["history"], "baseline")
        return trained

    full = audit.stage("baseline", encoded, train_full)
    audit.spent("baseline", 1.0, full.facts["seconds"], f"{full.facts['epochs']} epochs")
    if audit.until == "baseline":
        return None, None

    plan = cost_plan(config, prepared, full, constraints)
    log.info("select: planned: %s", plan_sentence(plan))

    def search(folder: StageFolder, run: Run) -> Selection:
        return select_stage.select(
            config, prepared, full, constraints, folder, on_trial=lambda row: publish.trial(run, row)
        )

    baseline_digest = audit.digest
    selection = audit.stage("select", {"baseline": audit.digest, "rules": load_stage.rules_digest(prepared)}, search)
    audit.spent(
        "select",
        selection.work / full.work,
        detail=f"{counted(len(selection.masks), 'trial')}, {counted(selection.n_confirmations, 'confirmation')}",
    )
    log.info("select: %s", selection.reason)
    decisions = decide_features(prepared, constraints, selection)
    publish.selection(parent, selection, decisions)
    if audit.until == "select":
        return None, None

    def train_pruned(folder: StageFolder, run: Run) -> retrain_stage.Retrained:
        pruned = retrain_stage.retrain(config, prepared, selection, folder)
        for number, facts in enumerate(pruned.facts):
            run.history(facts["history"], f"retrain_{number}")
        return pruned

    # Keyed by what was chosen and not by how: another margin that leads to the same features trains nothing again.
    kept = " ".join(prepared.schema.names[index] for index in selection.kept)
    pruned = audit.stage("retrain", {**encoded, "features": kept}, train_pruned)
    audit.spent("retrain", pruned.work / full.work, pruned.seconds, pruned.describe())
    if audit.until == "retrain":
        return None, None

    outcome = audit.stage(
        "parity",
        {"retrain": audit.digest, "baseline": baseline_digest, "store": prepared.digest},
        lambda folder, run: parity_stage.parity(config, prepared, full, pruned, folder),
    )
    audit.spent("parity", 0.0, detail=f"{prepared.rows['test']:,} test rows")
    report = build_report(
        config, prepared, full, constraints, selection, pruned, outcome, decisions, audit.costs, plan, parent.id
    )
    publish.outcome(parent, config, outcome, report, time.perf_counter() - started)
    try:
        report = publish.recommend(parent, config, prepared, pruned, report, outcome.folder.key.digest)
    except AuditError as error:
        return report, _not_registered(parent, report, error)
    return report, None


def _not_registered(parent: Run, report: AuditReport, error: AuditError) -> str:
    """Verdict and report stand without a registered model: say on the run and to the user how to go on."""
    problem = (
        f"the verdict is {report.verdict} and the report is complete, but the model registry was not changed: {error}; "
        f"when the cause is removed: feature-audit parity --audit {parent.id}"
    )
    note = parent.tags()["mlflow.note.content"].split("\n", 1)
    parent.describe("\n".join([note[0], "", error_note(problem), *note[1:]]))
    return problem


def _training_inputs(config: AuditConfig, prepared: Prepared) -> dict[str, str]:
    """What trainings depend on: the encoded features alone, for a rule about columns must not cost another training."""
    load = _key("load", _without_rules(config), {}).digest
    return {"store": prepared.content, "load": load, "model": own_code_digest(config.model)}


def check_config(config: AuditConfig) -> None:
    """Refuse what cannot be whatever the data: unknown names, a device that is not there, keys that miss their partner.

    Raises:
        UsageError: in one line.
    """
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"device={config.device}: torch {torch.__version__} sees no CUDA device; give cpu or auto")
    for key, value, known in (("model", config.model, MODELS), ("selector", config.selector, SELECTORS)):
        if value not in known and not (key == "model" and ":" in value):
            near = difflib.get_close_matches(value, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            own = ", or package.module:factory" if key == "model" else ""
            raise UsageError(f"{key}={value}: unknown; {hint}choose {', '.join(known)}{own}")
    check_arguments(config.model, config.model_params)
    if config.group is not None and config.group == config.target:
        raise UsageError(
            f"group={config.group}: it is the target itself; name the user or another unit, or leave group out"
        )
    metric = parse_metric(config.metric, config.task)[0] if config.metric else None
    if metric in ("gauc", "ndcg") and config.group is None:
        raise UsageError(f"metric={config.metric}: is computed within users; name the user column, e.g. group=user_id")
    registry.check_name(config.model_name)
    for split in ("time", "group"):
        if config.split == split and getattr(config, split) is None:
            raise UsageError(f"split={split}: needs a {split} column; give {split}=<column>, or split=random")


def _with_metric(config: AuditConfig, prepared: Prepared) -> AuditConfig:
    """Fix task and metric once the data has said what the task is."""
    task = prepared.schema.task
    metric = config.metric or DEFAULT_METRIC[task]
    parse_metric(metric, task)
    return config.model_copy(update={"task": task, "metric": metric})


def _as_yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
