"""Converts stage results to the plain data of the report."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.engine.environment import LIBRARIES, version_of
from feature_audit.findings import Finding
from feature_audit.fitting import soundness
from feature_audit.masking import masked, masked_values
from feature_audit.noninferiority import ParityResult
from feature_audit.noninferiority.chance import Chance
from feature_audit.orchestration.savings import readers
from feature_audit.results import AuditReport, CostPlan, FeatureDecision, MetricDelta, MoreTrainings, StageCost
from feature_audit.selection import Constraints, Selection, nogueira_index
from feature_audit.stages import retrain
from feature_audit.stages.baseline import Baseline
from feature_audit.stages.parity import Outcome
from feature_audit.stages.retrain import Retrained

#: Maximum number of columns named in a warning.
_NAMED = 5


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
    other_seconds: float,
    run_id: str,
) -> AuditReport:
    """All data of the report, except the recommendation's address (registered later).

    ``other_seconds``: seconds of the audit other than for training and loading, which another look would take again.
    """
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
        warnings=_warnings(config, prepared, full, selection, pruned, result),
        trials=[row.shown() for row in selection.trials],
        importances=selection.importances,
        data_summary=prepared.summary,
        table_costs=prepared.table_costs,
        plan=_came_to(plan, pruned, costs),
        power=pruned.plan,
        production=_against_production(result),
        weighting=_weighting(prepared),
        more=_more(full, pruned, outcome, other_seconds),
        look=outcome.look.number,
        judged_at=outcome.look.judged_at,
        ladder=outcome.ladder,
        readers=readers(config, prepared),
    )


def _weighting(prepared: Prepared) -> str | None:
    """The weights of all figures in the report, as a sentence."""
    summary = prepared.summary
    if "weighted_by" not in summary:
        return None
    rows, effective = prepared.rows["test"], summary["effective_rows"]["test"]
    weights = str(summary["weighted_by"])
    return (
        f"{weights[0].upper()}{weights[1:]}, in training and in every metric. "
        f"Effective sample size of the {rows:,} test rows: {effective:,.0f}."
    )


def _came_to(plan: CostPlan, pruned: Retrained, costs: Sequence[StageCost]) -> CostPlan:
    trainings, seconds = sum(cost.full_trainings for cost in costs), sum(cost.seconds for cost in costs)
    return replace(plan, chance=pruned.plan.chance, trainings=trainings, seconds=seconds)


def _against_production(result: ParityResult) -> str | None:
    sentences = [one["sentence"] for one in result.diagnostics["references"] if one["split"] == "test"]
    return " ".join(sentences) or None


def _more(full: Baseline, pruned: Retrained, outcome: Outcome, other_seconds: float) -> MoreTrainings | None:
    """The cheapest trainings that would decide; their time is expected from earlier ones, plus ``other_seconds``."""
    each = sum(float(np.mean([facts.seconds for facts in rung.facts])) for rung in pruned.rungs)
    so_far = len(pruned.at(outcome.k).facts), 1 + len(pruned.full_facts)

    def missing(seeds: int, baseline_seeds: int) -> float:
        return (seeds - so_far[0]) * each + (baseline_seeds - so_far[1]) * full.facts.seconds

    options = [(seeds, full_trainings) for seeds, full_trainings in outcome.result.diagnostics["enough_trainings"]]
    if not options:
        return None
    seeds, baseline_seeds = min(options, key=lambda option: missing(*option))
    return MoreTrainings(
        seeds, baseline_seeds, other_seconds + missing(seeds, baseline_seeds), outcome.look.next_judged_at
    )


def _warnings(
    config: AuditConfig,
    prepared: Prepared,
    full: Baseline,
    selection: Selection,
    pruned: Retrained,
    result: ParityResult,
) -> list[str]:
    value = full.facts.metric
    of_pruned = [one for one in result.diagnostics["references"] if one["model"] == "pruned"]
    boosted = [one for one in of_pruned if one["split"] == "validation"]
    matched = next((one["value"] for one in boosted if not one["clearly_worse"]), None)
    warnings = [f"{sentence}." for sentence in soundness.warnings(config, value, full.references, matched)]
    first = [prepared.schema.names[index] for index in selection.order[:3]]
    return [
        *warnings,
        *([retrain.SAME_SCORES] if pruned.same_scores else []),
        *data_warnings(prepared.findings),
        *too_good(full.references.chance, config.checks.leak_auc, first),
        *fallen(full.references.chance, result.diagnostics["chance"]["full"], prepared.findings),
        *below_half(result.deltas, config.group),
    ]


def data_warnings(findings: Sequence[Finding]) -> list[str]:
    """Warnings of problems that affect every figure of the audit: label leaks, and test rows that occur in train."""
    warnings = [f"{finding.detail}." for finding in findings if finding.kind == "split_overlap"]
    kinds = (
        ("suspected_leak", False, "Suspected label leaks were kept; please review them"),
        ("leak", False, "Label leaks were kept because of never_drop"),
        ("leak", True, "Label leaks were excluded; if a column is known before the event, keep it with never_drop"),
    )
    for kind, excluded, says in kinds:
        names = [finding.column for finding in findings if (finding.kind, finding.excluded) == (kind, excluded)]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            warnings.append(f"{says}: {', '.join(names[:_NAMED])}{more}.")
    return warnings


def below_half(deltas: Sequence[MetricDelta], group: str | None) -> list[str]:
    """A warning if a model ranks the rows within a user worse than chance: its GAUC is below 0.5.

    Args:
        deltas: metrics on the test rows.
        group: name of the user column.
    """
    row = next((one for one in deltas if one.metric == "gauc" and one.slice == "all"), None)
    if row is None or min(row.baseline, row.pruned) >= 0.5:
        return []
    return [
        f"GAUC is below 0.5 on the test rows (full model {row.baseline:.4f}, pruned {row.pruned:.4f}): within one "
        f"{group}, the scores rank rows worse than chance, whatever the overall AUC."
    ]


def too_good(quality: Chance, leak: float, first: Sequence[str]) -> list[str]:
    """A warning if the full model's validation quality exceeds the threshold at which a single column is called a leak.

    Columns may leak in combination (a planned and an actual time, the parts of a sum) although none does individually.

    Args:
        quality: the full model on validation; for regression R-squared, regardless of the decision metric.
        leak: ``checks.leak_auc``.
        first: the top-ranked features.
    """
    if quality.metric not in ("auc", "gauc", "r2") or quality.value < leak:
        return []
    return [
        f"The full model's validation {quality.metric} of {quality.value:.4f} usually means leakage: some columns may "
        "be known only after the event, alone or in combination. Check the top-ranked ones: "
        f"{', '.join(first)}; remove leaks with exclude."
    ]


def fallen(validation: Chance, test: Mapping[str, Any], findings: Sequence[Finding]) -> list[str]:
    """A warning if the full model is worse on the test rows than sampling noise explains.

    The two intervals must not overlap. At 95 % that happens in fewer than one of a hundred audits without drift.

    Args:
        validation: the full model on validation, with its interval at the audit's confidence.
        test: attributes of the same ``Chance`` on the test rows.
        findings: of the load stage; the columns that drift are named.
    """
    better, worse = (validation.low, test["high"]) if validation.higher_is_better else (test["low"], validation.high)
    if better <= worse:
        return []
    drifting = [finding.column for finding in findings if finding.kind == "drift"]
    named = f" Columns that drift: {', '.join(drifting[:_NAMED])}." if drifting else ""
    return [
        f"The full model's {validation.metric} is {validation.value:.4f} on validation and {test['value']:.4f} on the "
        "test rows, a larger change than sampling noise explains: the data drifts. Selection, plan and forecasts rest "
        f"on validation and are less reliable here.{named}"
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
        "test_looks": outcome.look.number,
        "parity": outcome.result.diagnostics,
        "versions": {
            "python": platform.python_version(),
            **{name: version_of(name) for name in ("mlflow", *LIBRARIES)},
        },
        "config": masked_values(config.model_dump(mode="json")),
    }
