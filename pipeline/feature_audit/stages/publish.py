"""What an audit leaves behind: metrics, tags and artifacts on its runs, and the registered recommendation."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import concrete_selectors
import polars as pl

import feature_audit
from feature_audit.config import AuditConfig
from feature_audit.data import Encoders, Prepared
from feature_audit.models import is_installed, own_code
from feature_audit.report import render_html, render_json, render_markdown, retirement, run_description
from feature_audit.results import AuditReport, FeatureDecision
from feature_audit.stages import exports
from feature_audit.stages.parity import PREDICTIONS, Outcome
from feature_audit.stages.retrain import Retrained
from feature_audit.stages.select import Selection
from feature_audit.tracking import Run, registry

_CURVE = ("k", "metric", "source", "delta", "std_error")


def data(parent: Run, config: AuditConfig, prepared: Prepared) -> None:
    """Lineage, validation result and schema of the data."""
    parent.dataset(
        name=Path(config.data).stem or config.data,
        source=config.data,
        digest=prepared.digest,
        rows=sum(prepared.rows.values()),
        features=len(prepared.schema.fields),
    )
    parent.text(json.dumps(prepared.validation, indent=1, default=str), "data/validation.json")
    parent.text(prepared.schema_yaml(), "data/schema.yaml")
    parent.tag(
        {"audit.metric": config.metric, "audit.margin": config.margin, "audit.n_features": len(prepared.schema.fields)}
    )


def trial(stage: Run, row: dict[str, Any]) -> None:
    """One search trial as a child run of the select stage."""
    run = stage.start_child(f"trial {row['number']}", {"audit.stage": "trial"})
    settings = {key: value for key, value in row.items() if key not in ("number", "state", "value", "seconds", "notes")}
    run.params({f"trial.{key}": value for key, value in settings.items()})
    run.metrics({"trial/value": row["value"], "cost/seconds": row["seconds"] or 0.0})
    run.end("FINISHED")


def selection(parent: Run, chosen: Selection, decisions: list[FeatureDecision]) -> None:
    """The ranking and the K curve."""
    points = [asdict(point) | {"source": "masked"} for point in chosen.choice.masked]
    points += [asdict(point) | {"source": "retrained"} for point in chosen.choice.retrained]
    with tempfile.TemporaryDirectory() as folder:
        ranking = Path(folder) / "ranking.parquet"
        order = ("feature", "rank", "score", "selection_frequency", "decision", "reason", "carried_by")
        pl.DataFrame([asdict(row) for row in decisions], infer_schema_length=None).select(
            *order, pl.exclude(*order)
        ).cast({"carried_by": pl.String, "group": pl.String}).write_parquet(ranking)
        curve = Path(folder) / "k_curve.parquet"
        pl.DataFrame(points, infer_schema_length=None).select(_CURVE).write_parquet(curve)
        parent.file(ranking, "selection")
        parent.file(curve, "selection")


def outcome(
    parent: Run,
    config: AuditConfig,
    prepared: Prepared,
    pruned: Retrained,
    result: Outcome,
    report: AuditReport,
    seconds: float,
) -> AuditReport:
    """Verdict, report and, on a pass, the registered model; returns the report with its address."""
    parent.metrics(_metrics(report, seconds))
    before = parent.tags().get("audit.recommendation")
    if before and report.verdict != "pass":  # a continued audit that passed before
        registry.withdraw(before)
        parent.untag("audit.recommendation")
    if report.verdict == "pass":
        version = _register(parent, config, prepared, pruned, report, result.folder.key.digest)
        report = replace(report, recommendation=f"models:/{config.model_name}/{version}")
        parent.tag({"audit.recommendation": report.recommendation})
    _recommendation(parent, config, report)
    parent.file(result.folder.path / PREDICTIONS, "parity")
    parent.text(render_html(report), "report/index.html")
    parent.text(render_markdown(report), "report/report.md")
    parent.text(render_json(report), "report/report.json")
    parent.describe(run_description(report))
    # The verdict comes last: who waits for the tag finds everything else in place.
    parent.tag({"audit.k": report.k, "audit.n_features": report.n_features, "audit.verdict": report.verdict})
    return report


def _metrics(report: AuditReport, seconds: float) -> dict[str, float]:
    values = {
        "cost/full_trainings": sum(cost.full_trainings for cost in report.costs),
        "cost/seconds": seconds,
        **{f"cost/full_trainings.{cost.stage}": cost.full_trainings for cost in report.costs},
        **{f"cost/seconds.{cost.stage}": cost.seconds for cost in report.costs},
    }
    for row in report.deltas:
        if row.slice == "all":
            values |= {
                f"baseline/test/{row.metric}": row.baseline,
                f"pruned/test/{row.metric}": row.pruned,
                f"parity/{row.metric}.delta": row.delta,
                f"parity/{row.metric}.ci_low": row.ci_low,
                f"parity/{row.metric}.ci_high": row.ci_high,
            }
    return {key.replace("@", "_at_"): value for key, value in values.items()}


def _recommendation(parent: Run, config: AuditConfig, report: AuditReport) -> None:
    keys = [key for key in (config.row_id, config.time, config.group) if key]
    rows = [row for row in report.decisions if row.decision == "keep"]
    parent.text(exports.sql_select(rows, keys), "recommendation/kept_features.sql")
    parent.text(exports.feast_service(rows, config.model_name), "recommendation/feature_service.py")
    kept = [row.feature for row in report.decisions if row.decision == "keep"]
    dropped = [row for row in report.decisions if row.decision != "keep"]
    content = {
        "verdict": report.verdict,
        "recommended": report.verdict == "pass",
        "model": report.recommendation,
        "sentence": report.sentence,
        "k": report.k,
        "n_features": report.n_features,
        "metric": report.metric,
        "margin": report.margin,
        "confidence": report.confidence,
        "kept": kept,
        "dropped": [{"feature": row.feature, "reason": row.reason, "carried_by": row.carried_by} for row in dropped],
        "savings": retirement.savings(report),
        "saved_cost": retirement.saved_cost(report),
        "retiring_tables": {table.name: table.saved for table in retirement.source_tables(report) if table.retires},
        "run_id": report.provenance["run_id"],
        "data_digest": report.provenance["data_digest"],
    }
    parent.text(json.dumps(content, indent=1, ensure_ascii=False), "recommendation/prune_recommendation.json")
    parent.text("".join(f"{name}\n" for name in kept), "recommendation/kept_features.txt")
    parent.text("".join(f"{row.feature}\n" for row in dropped), "recommendation/dropped_features.txt")


def _register(
    parent: Run, config: AuditConfig, prepared: Prepared, pruned: Retrained, report: AuditReport, outcome_key: str
) -> str:
    """Register the pruned model with the lowest validation loss; its inputs are the kept raw columns and no others."""
    names = pruned.schema.names
    with tempfile.TemporaryDirectory() as name:
        folder, code = Path(name) / "pruned", Path(name) / "code"
        folder.mkdir()
        code.mkdir()
        shutil.copy(pruned.folder.path / f"pruned_{pruned.best_seed}.pt", folder / "weights.pt")
        Encoders.load(prepared.directory / "encoders.json").keep(names).save(folder / "encoders.json")
        spec = {
            "model": config.model,
            "params": config.model_params,
            "attach": config.attach,
            "embedding_dim": config.training.embedding_dim,
            "fields": [asdict(field) for field in pruned.schema.fields],
            "task": pruned.schema.task,
            "n_classes": pruned.schema.n_classes,
        }
        (folder / "model.json").write_text(json.dumps(spec, indent=1), encoding="utf-8")
        decision = report.deltas[0]
        return registry.register(
            run_id=parent.id,
            model_name=config.model_name,
            artifacts=folder,
            code=_code(config.model, code),
            inputs=_raw_inputs(prepared, names),
            tags={
                "audit.key": outcome_key,
                "audit.verdict": report.verdict,
                "audit.run_id": parent.id,
                "audit.k": report.k,
                "audit.n_features": report.n_features,
                "audit.metric": report.metric,
                "audit.margin": report.margin,
                "audit.delta": decision.delta,
                "audit.ci_low": decision.ci_low,
                "audit.ci_high": decision.ci_high,
                "audit.data_digest": prepared.digest,
            },
            description=run_description(report),
        )


def _code(model: str, folder: Path) -> list[Path]:
    """What a registered model is loaded with: the project's packages, which no index has, and a team's own files.

    The latter are copied into ``folder``, so that nothing else that lies beside them is uploaded.
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
