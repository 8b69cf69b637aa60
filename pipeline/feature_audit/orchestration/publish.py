"""Publishes an audit's results: metrics, tags and artifacts on its runs, and the registered recommendation."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, write_table
from feature_audit.locking import held
from feature_audit.masking import masked, masked_values
from feature_audit.orchestration import exports, model_artifacts
from feature_audit.report import (
    measured,
    render_html,
    render_json,
    render_markdown,
    retirement,
    run_description,
    version_description,
)
from feature_audit.results import AuditReport, FeatureDecision, LadderRung
from feature_audit.selection import Selection, TrialRow
from feature_audit.stages.parity import PREDICTIONS, Outcome
from feature_audit.stages.retrain import Retrained
from feature_audit.tracking import Run, address
from feature_audit.tracking.parity_metrics import legal_name, metric_of, parity_metrics

#: Tags that record, in an experiment, the looks at a table's test rows.
FAMILY, LOOK, LOOK_RECORD = "audit.test_family", "audit.look", "audit.look_record"
_RANKING = ("feature", "rank", "score", "selection_frequency", "decision", "reason", "carried_by")
#: Numeric columns of the ranking that may be entirely empty.
_NUMBERS = ("bytes_per_row", "plain_bytes_per_row", "embedding_share")
_CURVE = ("k", "metric", "source", "delta", "std_error")


def data(parent: Run, config: AuditConfig, prepared: Prepared) -> None:
    """Lineage, validation result and schema of the data."""
    parent.dataset(
        name=data_name(config),
        source=masked(config.data),
        digest=prepared.digest,
        rows=sum(prepared.rows.values()),
        features=len(prepared.schema.fields),
        columns={column.name: column.dtype for column in prepared.columns},
        profile={"rows_per_split": prepared.rows, "positives_share": prepared.summary.get("positives_share")},
    )
    parent.text(json.dumps(prepared.validation, indent=1, default=str), "data/validation.json")
    parent.text(prepared.schema_yaml(), "data/schema.yaml")
    if config.further:
        parent.tag({"audit.targets": ", ".join(config.targets)})
    parent.tag({"audit.metric": config.metric, "audit.n_features": len(prepared.schema.fields)})
    margin(parent, config)


def margin(parent: Run, config: AuditConfig) -> None:
    """Tag the margin, once it is a number."""
    if not isinstance(config.margin, str):
        parent.tag({"audit.margin": config.margin})


def data_name(config: AuditConfig) -> str:
    """Name of the data in a list of runs: ``demo``, or the file's name without folder and suffix."""
    return Path(masked(config.data).partition("?")[0].rstrip("/*")).stem or "data"


def params(parent: Run, config: AuditConfig) -> None:
    """The resolved configuration as parameters ``cfg.<key>``, for sections ``cfg.<section>.<key>``.

    Unset values are omitted, and undecided ones are left for a later call, because a parameter cannot be changed.
    """
    undecided = {key.partition(".")[0] for key in config.shares}
    values: dict[str, Any] = {}
    for key, value in shown(config).items():
        if key in undecided:
            continue
        if isinstance(getattr(config, key), BaseModel):
            values |= {f"cfg.{key}.{name}": one for name, one in value.items()}
        else:
            values[f"cfg.{key}"] = value
    parent.params({key: _param_text(value) for key, value in values.items() if value not in (None, [], {})})


def _param_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def shown(config: AuditConfig) -> dict[str, Any]:
    """Every key with its value as plain data, credentials masked."""
    return dict(masked_values(config.model_dump(mode="json")))


def trial(stage: Run, row: TrialRow) -> None:
    """One finished trial of the selection as a child run of the select stage."""
    run = stage.start_child(f"trial {row.number}", {"audit.stage": "trial"})
    run.params({f"trial.{key}": value for key, value in row.settings.items()})
    run.metrics({"trial/value": row.value or 0.0, "cost/seconds": row.seconds or 0.0})
    run.end("FINISHED")


def selection(parent: Run, chosen: Selection, decisions: list[FeatureDecision]) -> None:
    """The ranking and the K curve."""
    rows = [asdict(row) for row in decisions]
    ranked = [{key: row[key] for key in _RANKING} | row for row in rows]
    curve = [{key: getattr(point, key) for key in _CURVE} for point in chosen.curve]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("ranking.parquet", "ranking.csv"):  # MLflow's page cannot display Parquet
            write_table(ranked, Path(folder) / name, text=("carried_by", "group"), numbers=_NUMBERS)
        write_table(curve, Path(folder) / "k_curve.parquet")
        for file in sorted(Path(folder).iterdir()):
            parent.file(file, "selection")


def look(parent: Run, prepared: Prepared, result: Outcome) -> None:
    """Tag the look at the table's test rows, for audits with other working directories."""
    taken = result.look
    parent.tag(
        {
            FAMILY: prepared.family,
            LOOK: taken.number,
            LOOK_RECORD: taken.record,
            "audit.confidence": taken.confidence,
            "audit.judged_at": taken.judged_at,
        }
    )


def outcome(parent: Run, config: AuditConfig, result: Outcome, report: AuditReport, seconds: float) -> None:
    """Publish verdict, evidence and report; all are complete before the registry is used."""
    parent.metrics(_parity_metrics(report))
    parent.metrics(_cost_metrics(report, seconds))
    parent.metrics(_savings_metrics(report))
    for rung in report.ladder:
        parent.metrics(_ladder_metrics(rung), step=rung.k)  # MLflow charts them over K
    parent.file(result.folder.path / PREDICTIONS, "parity")
    texts(parent, config, report)
    parent.rename(f"{report.verdict}: {report.k} of {report.n_features}, {data_name(config)}")
    # The verdict comes last, so that clients waiting for the tag find the evidence in place.
    parent.tag({"audit.k": report.k, "audit.n_features": report.n_features, "audit.verdict": report.verdict})


def texts(parent: Run, config: AuditConfig, report: AuditReport) -> None:
    """Write all texts that name the recommended model; repeated once the model has an address."""
    _recommendation(parent, config, report)
    parent.text(render_html(report), "report/index.html")
    parent.text(render_markdown(report), "report/report.md")
    parent.text(render_json(report), "report/report.json")
    parent.describe(run_description(report, _link(parent)))


def _link(parent: Run) -> str:
    server, path = address(parent.id)
    return f"{server}/{path}" if server else path


def _parity_metrics(report: AuditReport) -> dict[str, float]:
    """The verdict's figures, the decision metric first."""
    dropped = report.n_features - report.k
    values: dict[str, float] = {
        "audit/passed": float(report.verdict == "pass"),
        "audit/k": report.k,
        "audit/features_dropped": dropped,
        "audit/share_dropped": dropped / report.n_features,
    }
    for row in report.deltas:
        if row.slice == "all":
            name = metric_of(row, report.deltas[0].target)
            values |= {f"baseline/test/{name}": row.baseline, f"pruned/test/{name}": row.pruned}
    for one in report.provenance["parity"]["references"]:
        if one["split"] == "test":
            values[f"production/test/{legal_name(one['metric'])}"] = one["other"]
    return values | parity_metrics(report.deltas)


def _ladder_metrics(rung: LadderRung) -> dict[str, float]:
    """Figures of one K; empty if it was not tested."""
    figures = {"delta": rung.delta, "ci_low": rung.ci_low, "ci_high": rung.ci_high}
    return {f"ladder/{name}": value for name, value in figures.items() if value is not None}


def _cost_metrics(report: AuditReport, seconds: float) -> dict[str, float]:
    return {
        "cost/full_trainings": sum(cost.full_trainings for cost in report.costs),
        "cost/seconds": seconds,
        **{f"cost/full_trainings.{cost.stage}": cost.full_trainings for cost in report.costs},
        **{f"cost/seconds.{cost.stage}": cost.seconds for cost in report.costs},
    }


def _savings_metrics(report: AuditReport) -> dict[str, float]:
    """Measured sizes and speeds of both models, and the savings of the pruned one."""
    if report.savings is None:
        return {}
    values: dict[str, float] = {}
    for name, one in (("full", report.savings.full), ("pruned", report.savings.pruned)):
        sizes = {key: value for key, value in asdict(one).items() if key not in ("features", "batch_rows")}
        values |= {f"savings/{key}.{name}": value for key, value in sizes.items() if value is not None}
    return values | {f"savings/{key}": value for key, value in measured.ratios(report.savings).items()}


def _recommendation(parent: Run, config: AuditConfig, report: AuditReport) -> None:
    keys = [key for key in (config.row_id, config.time, config.group) if key]
    rows = [row for row in report.decisions if row.decision == "keep"]
    parent.text(exports.sql_select(rows, keys, verdict=report.verdict), "recommendation/kept_features.sql")
    parent.text(
        exports.feast_service(rows, config.model_name, verdict=report.verdict), "recommendation/feature_service.py"
    )
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
    parent.text(exports.name_lines(kept), "recommendation/kept_features.txt")
    parent.text(exports.name_lines(row.feature for row in dropped), "recommendation/dropped_features.txt")


def recommend(
    parent: Run, config: AuditConfig, prepared: Prepared, pruned: Retrained, report: AuditReport, outcome_key: str
) -> AuditReport:
    """Register the pruned model if the verdict is pass.

    Returns:
        The report with the model's address; the report and all texts that name the model are written again.

    Raises:
        AuditError: the registry refuses or does not respond; verdict and report are not changed.
    """
    if report.verdict != "pass":
        return report
    # If two concurrent audits recommend the same model, the second finds the version that the first registered.
    lock = Path(config.work_dir).resolve() / "registration.lock"
    with held(lock, "waiting for another audit to register its model"):
        found = model_artifacts.register(
            parent.id, config, prepared, pruned, report, outcome_key, partial(_version_text, parent, report)
        )
    report = replace(report, recommendation=found)
    texts(parent, config, report)
    refs = exports.feast_refs(row for row in report.decisions if row.decision == "keep")
    if refs:  # same place and format as in models logged by Feast
        parent.text(json.dumps(refs, ensure_ascii=False), "feast_features.json")
        parent.tag(exports.feast_tags(refs))
    parent.tag({"audit.recommendation": found})
    return report


def _version_text(parent: Run, report: AuditReport, found: str) -> str:
    """Description of the registered version with the address ``found``."""
    return version_description(replace(report, recommendation=found), _link(parent))
