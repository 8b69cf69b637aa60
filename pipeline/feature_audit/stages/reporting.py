"""From stage results to the plain data of the report."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.masking import masked, masked_values
from feature_audit.parity import metric
from feature_audit.results import AuditReport, CurvePoint, FeatureDecision, StageCost
from feature_audit.search import nogueira_index
from feature_audit.stages.baseline import Trained
from feature_audit.stages.cache import LIBRARIES
from feature_audit.stages.load import clipped_budget
from feature_audit.stages.parity import Outcome
from feature_audit.stages.retrain import Retrained
from feature_audit.stages.select import Selection


def build_report(
    config: AuditConfig,
    prepared: Prepared,
    full: Trained,
    selection: Selection,
    pruned: Retrained,
    outcome: Outcome,
    decisions: list[FeatureDecision],
    costs: list[StageCost],
    run_id: str,
) -> AuditReport:
    """Everything the report shows, without the recommendation's address (registered later)."""
    result = outcome.result
    assert config.metric is not None
    reasons = (selection.choice.reason, points_cut(selection.choice.cut), clipped_budget(config, prepared))
    return AuditReport(
        verdict=result.verdict,
        sentence=result.sentence,
        metric=config.metric,
        margin=config.margin,
        confidence=config.confidence,
        k=selection.choice.k,
        n_features=len(prepared.schema.fields),
        n_columns=len(prepared.columns),
        deltas=result.deltas,
        artifact_delta=result.artifact,
        curve=_curve(selection),
        target_quality=full.facts["metric"],
        k_reason="; ".join(filter(None, reasons)),
        decisions=decisions,
        findings=list(prepared.findings),
        costs=costs,
        provenance=_provenance(config, prepared, full, pruned, outcome, run_id),
        needed=result.needed,
        stability=nogueira_index(selection.masks),
        convergence=selection.convergence,
        warnings=_warnings(config, prepared, full, selection, pruned, outcome),
        trials=[{key: value for key, value in row.items() if key != "notes"} for row in selection.summary.trials],
        importances=selection.summary.importances,
        data_summary=prepared.summary,
        table_costs=prepared.table_costs,
    )


def _curve(selection: Selection) -> list[CurvePoint]:
    return [
        CurvePoint(point.k, point.metric, point.delta, source, point.std_error)
        for source, points in (("masked", selection.choice.masked), ("retrained", selection.choice.retrained))
        for point in points
    ]


def points_cut(ks: Sequence[int]) -> str:
    """Of which K the curve's retraining was cut short and may be better than drawn; empty where of none."""
    if not ks:
        return ""
    were = "retraining on validation at K = {} was" if len(ks) == 1 else "retrainings on validation at K = {} were"
    return f"the {were.format(', '.join(map(str, ks)))} cut short to keep to the profile's limit of full trainings"


def _warnings(
    config: AuditConfig, prepared: Prepared, full: Trained, selection: Selection, pruned: Retrained, outcome: Outcome
) -> list[str]:
    warnings = []
    value, yardstick = full.facts["metric"], full.facts["yardstick"]["metric"]
    if weaker_than_boosting(config, value, yardstick):
        warnings.append(
            f"The baseline (validation {config.metric} {value:.4f}) is weaker than a quick gradient boosting "
            f"({yardstick:.4f}): parity with it proves less. Try another model or more training.max_epochs."
        )
    if outcome.looks > 1:
        warnings.append(
            f"This is look number {outcome.looks} at the same test split. Every further look makes a lucky pass more "
            "likely; confirm a close result on newer data."
        )
    leaks = [finding.column for finding in prepared.findings if finding.kind == "suspected_leak"]
    if leaks:
        warnings.append(f"Suspected label leaks were kept and need a person's eye: {', '.join(leaks[:5])}.")
    first = [prepared.schema.names[index] for index in np.argsort(selection.rank)[:3]]
    cut = [] if outcome.result.verdict == "pass" else cut_short(pruned.cut_after, len(pruned.facts))
    return [*warnings, *cut, *too_good(config, value, first)]


def weaker_than_boosting(config: AuditConfig, value: float, yardstick: float) -> bool:
    """Does the full model fall short of a quick gradient boosting by more than two margins?

    The metric itself says which is better: of a ratio such as calibration, what lies nearer to 1.

    Args:
        config: names metric and task, and the margin.
        value: the full model's metric on validation.
        yardstick: the boosting's.
    """
    assert config.metric is not None  # the audit resolves metric and task before the first training
    assert config.task is not None
    quality = metric(config.metric, config.task).quality
    return bool(quality(yardstick) - quality(value) > 2 * max(config.margin, 1e-12))


def cut_short(cut: Sequence[int], retrainings: int) -> list[str]:
    """A warning where the limit of full trainings ended retrainings that were not done.

    Args:
        cut: epochs of each one that was (see ``Retrained.cut_after``).
        retrainings: all of them.
    """
    if not cut:
        return []
    return [
        f"{len(cut)} of {retrainings} retrainings were cut after {max(cut)} epochs, to keep to the profile's limit of "
        "full trainings, before their validation loss had stopped falling: the pruned model may be better than this. "
        f"Give seeds={retrainings} to let them run on."
    ]


def too_good(config: AuditConfig, value: float, first: Sequence[str]) -> list[str]:
    """A warning where the full model's validation quality is what a single column would be called a leak for.

    Columns may leak together (a planned and an actual time) where none does alone.

    Args:
        config: names the metric, and the AUC of a leak.
        value: the full model's metric on validation.
        first: the features that rank first.
    """
    if config.metric not in ("auc", "gauc") or value < config.checks.leak_auc:
        return []
    return [
        f"The full model's validation {config.metric} of {value:.4f} usually means leakage: some columns may be known "
        f"only after the event, alone or together. Look at those that rank first: {', '.join(first)}; take leaks out "
        "with exclude."
    ]


def _provenance(
    config: AuditConfig, prepared: Prepared, full: Trained, pruned: Retrained, outcome: Outcome, run_id: str
) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "data": masked(config.data),
        "data_digest": prepared.digest,
        "split": prepared.split_info,
        "rows": prepared.rows,
        "stage_keys": {
            "baseline": full.folder.key.digest,
            "retrain": pruned.folder.key.digest,
            "parity": outcome.folder.key.digest,
        },
        "seeds": {
            "baseline": [full.facts["seed"], *(facts["seed"] for facts in pruned.full_facts)],
            "retrain": [facts["seed"] for facts in pruned.facts],
        },
        "test_looks": outcome.looks,
        "parity": outcome.result.diagnostics,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("mlflow", *LIBRARIES)},
        },
        "config": masked_values(config.model_dump(mode="json")),
    }
