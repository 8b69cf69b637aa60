"""The results of a finished audit, as plain data that the stages decide and the report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from feature_audit.findings import Finding
from feature_audit.question import GuardMode

Verdict = Literal["pass", "fail", "inconclusive", "error"]

#: If the probability of a decision is below this, the audit reports so before the remaining trainings.
DECIDES = 0.8

#: Minimum number of finished trials for importances of the search settings; with fewer they would be noise.
LEAST_TRIALS = 8


@dataclass(frozen=True)
class MetricDelta:
    """Pruned compared with baseline on one metric, over all test rows or one slice; signed so that higher is better.

    Attributes:
        metric: e.g. ``auc``.
        slice: ``all`` or ``column = value``.
        rows, units: test rows and resampling units (users) in it.
        baseline, pruned: value of the metric (mean over seeds for pruned).
        delta, ci_low, ci_high: improvement of pruned and its interval at the confidence of the audit.
        margin: non-inferiority margin, None for a row that is only reported.
        verdict: of this row only; None without a margin.
        role: ``decision`` (decides the verdict), ``guard`` or ``information``.
        mode: of a guard: ``not_shown_worse`` (only a proven loss fails) or ``not_worse`` (a pass requires
            non-inferiority).
        target: target of this row, if there are several; otherwise empty.
    """

    metric: str
    slice: str
    rows: int
    units: int
    baseline: float
    pruned: float
    delta: float
    ci_low: float
    ci_high: float
    margin: float | None
    verdict: Verdict | None
    role: Literal["decision", "guard", "information"]
    mode: GuardMode | None = None
    target: str = ""


@dataclass(frozen=True)
class FeatureDecision:
    """One row of the decision table (and of ``selection/ranking.parquet``).

    Attributes:
        rank: 1 = kept first; with K features, ranks 1 to K are kept. Decided by the elimination.
        score: estimate of the selector before the elimination, log of the expected number of slots that choose the
            feature; -inf for excluded columns. It need not agree with the rank.
        selection_frequency: share of the selectors that keep the feature at this K.
        carried_by: the kept feature that carries most of the information of a dropped one.
        bytes_per_row: stored size per row in the log, None if unknown; ``plain_bytes_per_row``: the same before
            compression.
        embedding_share: share of the full model's embedding parameters, 0 to 1; None for models that are not built in.
    """

    feature: str
    rank: int
    score: float
    selection_frequency: float
    decision: Literal["keep", "drop", "review"]
    reason: str
    carried_by: str | None = None
    kind: str = ""
    group: str | None = None
    cost: float = 0.0
    bytes_per_row: float | None = None
    plain_bytes_per_row: float | None = None
    embedding_share: float | None = None


@dataclass(frozen=True)
class CurvePoint:
    """Validation quality at one K.

    Attributes:
        k: number of features.
        metric: value of the metric.
        delta: improvement over the full model on the same rows; higher is better for every metric.
        source: ``masked`` (one network fine-tuned for every K) or ``retrained`` (trained from scratch).
        std_error: standard error of ``delta``, over validation clusters.
        others: required secondary target -> its delta, the standard error of its delta, and its margin.
    """

    k: int
    metric: float
    delta: float
    source: str
    std_error: float = 0.0
    others: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class LadderRung:
    """One of the K that were trained for the test split, in the order of testing.

    Attributes:
        k: number of features.
        share_dropped: share of the candidate features that are dropped, 0 to 1.
        tested_as: position in the order, from 1; None if testing stopped before. The remaining fields are then None.
        verdict: of this K, including its guards.
        delta, ci_low, ci_high: of the decision metric, as in ``MetricDelta``.
        sentence: the verdict in words, with its numbers.
    """

    k: int
    share_dropped: float
    tested_as: int | None = None
    verdict: Verdict | None = None
    delta: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    sentence: str | None = None


@dataclass(frozen=True)
class StageCost:
    """Cost of one stage; ``full_trainings`` in units of the baseline training."""

    stage: str
    seconds: float
    full_trainings: float
    detail: str = ""


@dataclass(frozen=True)
class CostPlan:
    """Expected cost of an audit, reported after the training of the full model and before the selection.

    Attributes:
        text: the steps, as one sentence without a full stop.
        trainings_low, trainings_high: cost of the whole audit, in full trainings; the lower bound assumes one
            confirmation and a single test at the smallest K, the upper bound all confirmations and several tests at the
            largest K.
        seconds_low, seconds_high: the same in wall time, at the speed of the baseline.
        chance: predicted probability of a decision, from ``PowerPlan``.
        trainings, seconds: actual cost of the audit, as the sum of ``AuditReport.costs``.
    """

    text: str
    trainings_low: float
    trainings_high: float
    seconds_low: float
    seconds_high: float
    chance: float | None = None
    trainings: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class PowerPlan:
    """Power of the planned trainings, estimated on validation rows before the test split is read.

    Attributes:
        pruned, full: number of trainings of each model.
        expected: difference (pruned - full) assumed in the plan; 0 = identical models.
        chance: predicted probability that the test split decides.
        decidable: the smallest margin at which identical models would pass in 4 of 5 audits.
        seed_noise: standard deviation of a model's quality between trainings, as assumed in the plan.
        row_noise: standard error of the difference due to the test rows only.
        sentence: the plan in words.
    """

    pruned: int
    full: int
    expected: float
    chance: float
    decidable: float
    seed_noise: float
    row_noise: float
    sentence: str

    @property
    def can_decide(self) -> bool:
        """Whether the test split decides in at least 4 of 5 audits."""
        return self.chance >= DECIDES


@dataclass(frozen=True)
class MoreTrainings:
    """The cheapest trainings that would decide an inconclusive audit, if the true difference equals the estimate.

    Attributes:
        seeds, baseline_seeds: total trainings of the pruned and of the full model, including existing ones.
        seconds: wall time of the audit that adds them, at the measured speed.
        confidence: confidence of the next look at these test rows.
    """

    seeds: int
    baseline_seeds: int
    seconds: float
    confidence: float


@dataclass(frozen=True)
class Readers:
    """Other consumers of the features of this log.

    Attributes:
        features: feature -> its consumers.
        tables: source table -> consumers of the whole table, or of features of it that this log does not have.
        note: names in the consumers file that this log does not have, a sentence or empty.
    """

    features: dict[str, list[str]]
    tables: dict[str, list[str]]
    note: str = ""


@dataclass(frozen=True)
class Footprint:
    """Resources of one model; None if not measured.

    Attributes:
        features: number of features that it reads.
        bytes_per_row: stored size of these features in the log; ``plain_bytes_per_row``: before compression.
        model_bytes: size of its weights.
        rows_per_second: raw rows encoded and scored, in batches of ``batch_rows``, on one CPU thread.
        latency_ms: median time for one raw row, measured the same way.
    """

    features: int
    bytes_per_row: float | None = None
    plain_bytes_per_row: float | None = None
    model_bytes: int | None = None
    rows_per_second: float | None = None
    latency_ms: float | None = None
    batch_rows: int | None = None


@dataclass(frozen=True)
class WaveSavings:
    """Savings of one removal wave, in the order of removal; ``cost`` in the user's unit."""

    title: str
    features: list[str]
    cost: float
    bytes_per_row: float | None
    embedding_share: float | None


@dataclass(frozen=True)
class FadePoint:
    """The current full model while the features of a wave are removed, after those of earlier waves.

    Attributes:
        wave: number in the order of removal, from 1; 0 = all features present.
        coverage: share of the rows that still have the features of the wave.
        metric: value of the decision metric; ``delta``: its change from full coverage, higher is better.
    """

    wave: int
    coverage: float
    metric: float
    delta: float


@dataclass(frozen=True)
class Savings:
    """Savings, measured on the log and models of this audit.

    Attributes:
        bytes_from: source of the byte figures; None if there are none.
        fading: empty without a pass; ``faded_rows``: number of validation rows used.
    """

    full: Footprint
    pruned: Footprint
    bytes_from: str | None
    waves: list[WaveSavings]
    fading: list[FadePoint]
    faded_rows: int = 0


@dataclass(frozen=True)
class AuditReport:
    """The content of the report.

    Attributes:
        verdict, sentence: the verdict, and the verdict in words.
        metric, margin, confidence: of the decision.
        k, n_features: kept features and candidate features; ``n_columns`` also counts excluded ones. If several K were
            tested, ``k`` is the smallest proven one, or the first one tested if none passed.
        deltas: decision row first.
        artifact_delta: the decision metric for *these trained artifacts*, without seed variance; the interval of the
            verdict includes it.
        curve, k_reason: the K curve, and the reason for the proposed K in one sentence.
        ladder: the K that were trained, in the order of testing; ``k`` is one of them.
        target_quality: metric of the full model on validation; a point of the curve is good enough if its delta is
            at least ``-margin``.
        decisions: one row per feature column, kept first.
        findings: findings about the data.
        costs: cost per stage; ``plan``: the expected cost.
        power: power of the planned trainings.
        needed: for inconclusive, what would decide it (a sentence); ``more``: the trainings that would, None if no
            number of trainings would.
        look: number of this look at the test rows, from 1.
        judged_at: confidence of the intervals, which is higher than ``confidence`` if looks share the error; None =
            the same.
        stability: Nogueira index over selectors or None; ``convergence``: a sentence about the selector's convergence.
        trials: rows of the search (number, parameters, value, state); ``importances``: of its parameters.
        provenance: hashes, seeds, versions, resolved configuration, run ids.
        table_costs: source table -> cost of keeping it, which is saved when its last feature is dropped.
        margin_share: the margin as given, if it was a share such as ``1%``; ``margin`` is the resulting number.
        production: comparisons of both models with the production score, in sentences; None without one.
        weighting: how rows are weighted, and the effective sample size of the test split; None = equal weights.
        savings: measured savings of the pruned model; None before the verdict.
        readers: other consumers of the features; None without `consumers`.
        warnings: sentences shown under the verdict (e.g. baseline weaker than gradient boosting).
    """

    verdict: Verdict
    sentence: str
    metric: str
    margin: float
    confidence: float
    k: int
    n_features: int
    n_columns: int
    deltas: list[MetricDelta]
    artifact_delta: MetricDelta | None
    curve: list[CurvePoint]
    target_quality: float
    k_reason: str
    decisions: list[FeatureDecision]
    findings: list[Finding]
    costs: list[StageCost]
    provenance: dict[str, Any]
    recommendation: str | None = None
    needed: str | None = None
    stability: float | None = None
    convergence: str | None = None
    warnings: list[str] = field(default_factory=list)
    trials: list[dict[str, Any]] = field(default_factory=list)
    importances: dict[str, float] = field(default_factory=dict)
    data_summary: dict[str, Any] = field(default_factory=dict)
    table_costs: dict[str, float] = field(default_factory=dict)
    plan: CostPlan | None = None
    power: PowerPlan | None = None
    margin_share: str | None = None
    production: str | None = None
    weighting: str | None = None
    more: MoreTrainings | None = None
    look: int = 1
    judged_at: float | None = None
    ladder: list[LadderRung] = field(default_factory=list)
    savings: Savings | None = None
    readers: Readers | None = None
