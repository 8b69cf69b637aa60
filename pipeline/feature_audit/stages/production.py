"""Compares the full and the pruned model with the one in production, on the rows that production scored."""

from __future__ import annotations

from typing import Literal

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Store
from feature_audit.errors import AuditError
from feature_audit.labels import MIN_PER_CLASS
from feature_audit.noninferiority import metric
from feature_audit.noninferiority.references import Reference, against_reference

#: Minimum number of scored test rows for a comparison; for binary labels, of each class.
LEAST_ROWS = MIN_PER_CLASS
_REMEDY = (
    "Keep more features (k, k_min), or, if the full model is worse than production as well, bring it up to production "
    "quality: give it the same features and train rows, try another model or more training.max_epochs. Check that "
    "production_score was written before the outcome."
)


def check_production(config: AuditConfig, store: Store) -> None:
    """Refuse a score that cannot be compared, before any training.

    Raises:
        AuditError: too few test rows have a score, or the metric requires probabilities and the scores are not.
    """
    scores = store.production_score("test")
    if scores is None:
        return
    shown, scored = f"production_score={config.production_score}", np.isfinite(scores)
    binary = store.schema.task == "binary"
    outcomes = store.target("test")[scored]
    fewest = int(min(np.count_nonzero(outcomes), np.count_nonzero(outcomes == 0)) if binary else len(outcomes))
    if fewest < LEAST_ROWS:
        what = "test rows with a score" + (" are of one class" if binary else "")
        remedy = "score more rows, or leave out production_score"
        raise AuditError(f"{shown}: only {fewest} {what}, and at least {LEAST_ROWS} are needed; {remedy}")
    low, high = float(scores[scored].min()), float(scores[scored].max())
    if metric(str(config.metric), store.schema.task).probabilities and not 0 <= low <= high <= 1:
        raise AuditError(
            f"{shown}: ranges from {low:.4g} to {high:.4g}, but metric={config.metric} needs probabilities; give "
            "probabilities, or use a ranking metric such as auc"
        )


def against_production(
    config: AuditConfig, store: Store, model: Literal["full", "pruned"], predicted: np.ndarray
) -> list[Reference]:
    """A model compared with the production scores on the test rows; empty if no column is configured.

    Args:
        config: names metric and column.
        store: contains labels and scores.
        model: which one is compared.
        predicted: (seeds, rows) its scores on the test rows.
    """
    scores, group, weight = store.production_score("test"), store.group("test"), store.weight("test")
    if scores is None:
        return []
    scored = np.isfinite(scores)
    return [
        against_reference(
            metric(str(config.metric), store.schema.task),
            model=model,
            y=store.target("test")[scored],
            scores=predicted[:, scored],
            other=scores[scored],
            cluster=None if group is None else group[scored],
            name=f"production ({config.production_score})",
            remedy=_REMEDY,
            split="test",
            weight=None if weight is None else weight[scored],
        )
    ]
