"""From stage results to the plain data of the report."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.fitting import soundness
from feature_audit.fitting.cache import LIBRARIES
from feature_audit.masking import masked, masked_values
from feature_audit.parity import ParityResult
from feature_audit.results import AuditReport, CostPlan, FeatureDecision, StageCost
from feature_audit.selection import Constraints, Selection, nogueira_index
from feature_audit.stages.baseline import Baseline
from feature_audit.stages.parity import Outcome
from feature_audit.stages.retrain import Retrained


def build_report(
    config: AuditConfig,
    prepared: Prepared,
    full: Baseline,
    constraints: Constraints,
    selection: Selection,
    pruned: Retrained,
    outcome: Outcome,
    decisions: list[FeatureDecision],
    costs: list[StageCost],
    plan: CostPlan,
    run_id: str,
) -> AuditReport:
    """Everything the report shows, without the recommendation's address (registered later)."""
    result = outcome.result
    assert config.metric is not None
    reasons = (selection.reason, constraints.note)
    return AuditReport(
        verdict=result.verdict,
        sentence=result.sentence,
        metric=config.metric,
        margin=config.absolute_margin,
        confidence=config.confidence,
        k=selection.k,
        n_features=len(prepared.schema.fields),
        n_columns=len(prepared.columns),
        deltas=result.deltas,
        artifact_delta=result.artifact,
        curve=selection.curve,
        target_quality=full.facts.metric,
        k_reason="; ".join(filter(None, reasons)),
        decisions=decisions,
        findings=list(prepared.findings),
        costs=costs,
        provenance=_provenance(config, prepared, full, pruned, outcome, run_id),
        needed=result.needed,
        stability=nogueira_index(selection.masks),
        convergence=selection.convergence,
        warnings=_warnings(config, prepared, full, selection, pruned, outcome),
        trials=[row.shown() for row in selection.trials],
        importances=selection.importances,
        data_summary=prepared.summary,
        table_costs=prepared.table_costs,
        plan=plan,
        power=pruned.plan,
        production=_against_production(result),
        ladder=outcome.ladder,
    )


def _against_production(result: ParityResult) -> str | None:
    return next((one["sentence"] for one in result.diagnostics["references"] if one["split"] == "test"), None)


def _warnings(
    config: AuditConfig, prepared: Prepared, full: Baseline, selection: Selection, pruned: Retrained, outcome: Outcome
) -> list[str]:
    value = full.facts.metric
    warnings = [f"{sentence}." for sentence in soundness.warnings(config, value, full.references)]
    if outcome.looks > 1:
        warnings.append(
            f"This test split has now been used {outcome.looks} times. Every further use makes a lucky pass more "
            "likely; confirm a close result on newer data."
        )
    leaks = [finding.column for finding in prepared.findings if finding.kind == "suspected_leak"]
    if leaks:
        warnings.append(f"Suspected label leaks were kept and need a person's eye: {', '.join(leaks[:5])}.")
    first = [prepared.schema.names[index] for index in selection.order[:3]]
    return [*warnings, *too_good(config, value, first)]


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
    config: AuditConfig, prepared: Prepared, full: Baseline, pruned: Retrained, outcome: Outcome, run_id: str
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
            "baseline": [full.facts.seed, *(facts.seed for facts in pruned.full_facts)],
            "retrain": [facts.seed for rung in pruned.rungs for facts in rung.facts],
        },
        "test_looks": outcome.looks,
        "parity": outcome.result.diagnostics,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("mlflow", *LIBRARIES)},
        },
        "config": masked_values(config.model_dump(mode="json")),
    }
