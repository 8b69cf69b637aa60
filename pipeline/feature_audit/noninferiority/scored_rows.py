"""The validated inputs of a decision: labels, clusters and the scores of both arms on the same rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from feature_audit.errors import AuditError, UsageError
from feature_audit.labels import MIN_PER_CLASS, settles
from feature_audit.noninferiority.clusters import cluster_codes
from feature_audit.noninferiority.metrics import Metric, Sample
from feature_audit.schema import Task


@dataclass(frozen=True)
class ScoredArms:
    """Both arms on the same test rows.

    Attributes:
        y: (rows,) labels.
        baseline, pruned: (seeds, rows[, classes]) scores, float32 if given so, else float64.
        cluster: (rows,) codes 0..units-1, or None if each row is a cluster.
        clusters: number of clusters.
        task: binary, regression or multiclass.
        deployed: True if the baseline is one fixed model rather than one of many possible trainings.
        weight: (rows,) > 0, row weights; None = 1 each.
        target: which of several targets the labels and scores are for; empty if there is one.
        pool: (clusters,) resampling group of each cluster (``resampling.pool_of``); None = no bootstrap.
    """

    y: np.ndarray
    baseline: np.ndarray
    pruned: np.ndarray
    cluster: np.ndarray | None
    clusters: int
    task: Task
    deployed: bool = False
    weight: np.ndarray | None = None
    target: str = ""
    pool: np.ndarray | None = None

    @property
    def seeds(self) -> tuple[int, int]:
        """Trainings of (pruned, baseline)."""
        return len(self.pruned), len(self.baseline)

    def on(self, mask: np.ndarray) -> ScoredArms:
        """The same arms on some of the rows, without bootstrap groups."""
        cluster, clusters = cluster_codes(
            None if self.cluster is None else self.cluster[mask], int(np.count_nonzero(mask))
        )
        return replace(
            self,
            y=self.y[mask],
            baseline=self.baseline[:, mask],
            pruned=self.pruned[:, mask],
            cluster=cluster,
            clusters=clusters,
            weight=None if self.weight is None else self.weight[mask],
            pool=None,
        )

    def sample(self, score: np.ndarray) -> Sample:
        """One training's scores, in float64, with the labels and clusters."""
        return Sample(self.y, score.astype(np.float64, copy=False), self.cluster, self.clusters, self.weight)


def checked(
    y: Any, baseline: Any, pruned: Any, cluster: Any, task: Task, *, deployed: bool = False, weight: Any = None
) -> ScoredArms:
    """Validate the inputs; both arms get a seed axis.

    Raises:
        UsageError: there are scores of more than one deployed model.
        AuditError: a shape, label, score or weight is invalid for every metric of the task.
    """
    y = np.asarray(y)
    if y.ndim != 1 or len(y) < 2:
        raise AuditError(f"y has shape {y.shape}; at least two test rows are needed")
    if y.dtype.kind not in "biuf" or not np.isfinite(y).all():
        raise AuditError("y contains values that are not finite numbers; drop those test rows")
    arms = [_scores(name, given, len(y), task) for name, given in (("baseline", baseline), ("pruned", pruned))]
    _check_labels(y, task, arms[0].shape[-1])
    if cluster is not None and np.shape(cluster) != (len(y),):
        raise AuditError(f"unit has shape {np.shape(cluster)}; give one code per test row ({len(y)})")
    codes, clusters = cluster_codes(None if cluster is None else np.asarray(cluster), len(y))
    if codes is not None and task != "regression" and settles(codes, y):
        raise AuditError(
            f"unit: every one of the {clusters} units has a single label, and one label has fewer than "
            f"{MIN_PER_CLASS} units, so resampling cannot measure the noise; use the user as unit, or leave out the "
            "unit"
        )
    if clusters < 2:
        raise AuditError("all test rows belong to a single unit; give test rows of several units, or leave out `group`")
    if deployed and len(arms[0]) > 1:
        raise UsageError(
            f"against=deployed: there is one deployed model, but scores of {len(arms[0])} were given; give one, or "
            "use against=retrained"
        )
    return ScoredArms(y, arms[0], arms[1], codes, clusters, task, deployed, _weights(weight, len(y)))


def _weights(given: Any, rows: int) -> np.ndarray | None:
    if given is None:
        return None
    weight = np.asarray(given)
    if weight.shape != (rows,) or weight.dtype.kind not in "biuf":
        raise AuditError(f"weight has shape {weight.shape}, type {weight.dtype}; give one number per test row ({rows})")
    weight = weight.astype(np.float64)
    wrong = int(np.count_nonzero(~(np.isfinite(weight) & (weight > 0))))
    if wrong:
        raise AuditError(f"weight contains {wrong} values that are not finite and above 0; leave those rows out")
    return weight


def _scores(name: str, given: Any, rows: int, task: Task) -> np.ndarray:
    axes = 3 if task == "multiclass" else 2
    score = np.asarray(given)
    score = score if score.dtype == np.float32 else score.astype(np.float64, copy=False)
    score = score[None] if score.ndim == axes - 1 else score
    if score.ndim != axes or score.shape[1] != rows or not len(score):
        shape = "(seeds, rows, classes)" if axes == 3 else "(seeds, rows)"
        raise AuditError(f"{name} scores have shape {np.shape(given)}; give {shape} with rows={rows}")
    wrong = score.size - int(np.count_nonzero(np.isfinite(score)))
    if wrong:
        raise AuditError(f"{name} scores contain {wrong} values that are not finite; drop those rows for both models")
    return score


def _check_labels(y: np.ndarray, task: Task, classes: int) -> None:
    allowed = {"binary": 2, "multiclass": classes}.get(task)
    if allowed is None:
        return
    found = np.unique(y)
    strange = found[~np.isin(found, np.arange(allowed))]
    if len(strange):
        wanted = "0 or 1" if task == "binary" else f"a class code from 0 to {allowed - 1}"
        raise AuditError(f"y contains {strange[:5].tolist()}; a {task} target must be {wanted}")


def check_metric(metric: Metric, scored: ScoredArms) -> None:
    """Check that the metric can be computed on these rows.

    Raises:
        UsageError: a per-user metric without users.
        AuditError: labels or scores that do not fit it.
    """
    if metric.per_cluster and scored.cluster is None:
        raise UsageError(f"metric={metric.name} is computed within users; name the user column with `group`")
    if not metric.defined(scored.y):
        raise AuditError(
            f"metric={metric.name}: all {len(scored.y)} test rows have the same label; use a longer test period or "
            "more rows"
        )
    if scored.task == "binary":
        ones = int(np.count_nonzero(scored.y))
        if min(ones, len(scored.y) - ones) < MIN_PER_CLASS:
            raise AuditError(
                f"metric={metric.name}: {ones} positive and {len(scored.y) - ones} negative rows; at least "
                f"{MIN_PER_CLASS} of each are needed for an interval; use more test rows"
            )
    if metric.probabilities:
        for name, score in (("baseline", scored.baseline), ("pruned", scored.pruned)):
            if score.min() < 0 or score.max() > 1:
                raise AuditError(
                    f"metric={metric.name}: {name} scores range from {score.min():.4g} to {score.max():.4g}; give "
                    "probabilities between 0 and 1"
                )
