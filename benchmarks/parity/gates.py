"""Rules for deciding whether a pruned model may replace the full one; each returns whether it would pass."""

from __future__ import annotations

import mlflow
import numpy as np
from feature_audit.noninferiority import ParityResult, decide
from mlflow.models import EvaluationResult, MetricThreshold
from mlflow.models.evaluation.validation import ModelValidationFailedException
from scipy import stats
from world import Audit

NAMES = (
    "feature-audit",
    "delta > -margin",
    "MLflow threshold = full - margin",
    "MLflow min_absolute_change",
    "test rows only",
    "t over seeds only",
    "components, Satterthwaite",
)


def judged(audit: Audit, margin: float, confidence: float = 0.95) -> ParityResult:
    """The complete result of our rule."""
    return decide(
        y=audit.y,
        cluster=audit.cluster,
        baseline=audit.baseline,
        pruned=audit.pruned,
        task="binary",
        metric="auc",
        margin=margin,
        confidence=confidence,
        draws=0,
    )


def passes(audit: Audit, margin: float, confidence: float) -> tuple[dict[str, bool], ParityResult]:
    """Whether each rule lets the pruned model pass, and the complete result of ours."""
    ours = judged(audit, margin, confidence)
    row = ours.decision
    parts = ours.diagnostics["components"][0]
    seeds = ours.diagnostics["seeds"]
    seed_sd = np.sqrt(parts["between_seed_variance"])
    total = parts["row_variance"] + parts["weight"] * parts["between_seed_variance"]
    spread = (parts["weight"] * parts["between_seed_variance"]) ** 2 / parts["seed_df"]
    df = total**2 / (spread + parts["row_variance"] ** 2 / parts["row_df"])
    by_seeds = seed_sd / np.sqrt(seeds["pruned"]) * stats.t.ppf(confidence, max(seeds["pruned"] - 1, 1))
    return {
        "feature-audit": row.verdict == "pass",
        "delta > -margin": row.delta > -margin,
        "MLflow threshold = full - margin": _mlflow(row.pruned, row.baseline, threshold=row.baseline - margin),
        "MLflow min_absolute_change": _mlflow(row.pruned, row.baseline, min_absolute_change=1e-9),
        "test rows only": ours.artifact.verdict == "pass",
        "t over seeds only": row.delta - by_seeds > -margin,
        "components, Satterthwaite": row.delta - stats.t.ppf(confidence, df) * np.sqrt(total) > -margin,
    }, ours


def _mlflow(pruned: float, baseline: float, **threshold: float) -> bool:
    """MLflow's validation; it accepts only positive improvements, so a margin must be part of the threshold."""
    try:
        mlflow.validate_evaluation_results(
            validation_thresholds={"auc": MetricThreshold(greater_is_better=True, **threshold)},
            candidate_result=EvaluationResult(metrics={"auc": pruned}, artifacts={}),
            baseline_result=EvaluationResult(metrics={"auc": baseline}, artifacts={}),
        )
    except ModelValidationFailedException:
        return False
    return True
