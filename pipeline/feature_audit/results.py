"""What a finished audit has to say, as plain data shared by parity, search, report and stages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from feature_audit.findings import Finding
from feature_audit.question import GuardMode

Verdict = Literal["pass", "fail", "inconclusive", "error"]

#: Chance of a decision below which an audit is announced as undecidable before it trains.
DECIDES = 0.8

#: Finished trials below which the importances of the search's settings would be noise.
LEAST_TRIALS = 8


@dataclass(frozen=True)
class MetricDelta:
    """Pruned against baseline on one metric, over all test rows or one slice; signed so that higher is better.

    Attributes:
        metric: e.g. ``auc``.
        slice: ``all`` or ``column = value``.
        rows, units: test rows and resampled units (users) in it.
        baseline, pruned: the metric's own value (mean over seeds for pruned).
        delta, ci_low, ci_high: improvement of pruned and its interval at the audit's confidence.
        margin: non-inferiority margin, None for a row that is only reported.
        verdict: of this row alone; None where there is no margin.
        role: ``decision`` (the verdict stands on it), ``guard`` or ``information``.
        mode: of a guard: ``not_shown_worse`` (only a shown loss fails) or ``not_worse`` (a pass needs it shown).
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


@dataclass(frozen=True)
class FeatureDecision:
    """One row of the decision table (and of ``selection/ranking.parquet``).

    Attributes:
        rank: 1 = kept first; with K features, ranks 1 to K are kept. Decided by the elimination.
        score: what the selector thought before the elimination, log of the expected number of slots that choose the
            feature; -inf for what it never saw. It need not agree with the rank.
        selection_frequency: share of the search's selectors that keep the feature at this K.
        carried_by: the kept feature that holds most of a dropped one's information.
        bytes_per_row: what a row takes of it in the log as it is stored, None where nothing knows;
            ``plain_bytes_per_row``: the same before compression.
        embedding_share: of the full model's embedding parameters, 0 to 1; None for models that are not shipped here.
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
        metric: the metric's own value.
        delta: improvement over the full model on the same rows; higher is better, whatever the metric.
        source: ``masked`` (one network fine-tuned for every K) or ``retrained`` (a network of its own).
        std_error: of ``delta``, over validation clusters.
    """

    k: int
    metric: float
    delta: float
    source: str
    std_error: float = 0.0


@dataclass(frozen=True)
class LadderRung:
    """One K of those that were trained for the test split, in the order of testing.

    Attributes:
        k: number of features.
        share_dropped: of the candidate features, 0 to 1.
        tested_as: place in the order, counted from 1; None where testing had stopped before. All below is None then.
        verdict: of this K, its guards included.
        delta, ci_low, ci_high: of the decision metric, as in ``MetricDelta``.
        sentence: what the verdict says, with its numbers.
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
    """What one stage spent; ``full_trainings`` in units of the baseline's own training."""

    stage: str
    seconds: float
    full_trainings: float
    detail: str = ""


@dataclass(frozen=True)
class CostPlan:
    """What the rest of an audit is expected to cost, said after the full model's training and before the selection.

    Attributes:
        text: the steps, as one sentence without a full stop.
        trainings_low, trainings_high: of the whole audit, in full trainings; the first if one confirmation is enough
            and one K is tested, as small as it may be, the second with all confirmations and several K as large as may
            be.
        seconds_low, seconds_high: the same in wall time, at the baseline's speed.
        chance: predicted before the test split was read that it decides; of ``PowerPlan``.
        trainings, seconds: what the audit came to, as the sum of ``AuditReport.costs``.
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
    """What the trainings can be expected to decide, said on validation rows before the test split was read.

    Attributes:
        pruned, full: trainings of either model.
        expected: difference (pruned - full) planned for; 0 = identical models.
        chance: predicted probability that the test split decides.
        decidable: the smallest margin at which identical models would pass in 4 of 5 audits.
        seed_noise: standard deviation of a model's quality between trainings that was planned with.
        row_noise: standard error of the difference that the test rows alone leave.
        sentence: all that for people.
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
        """Will the test split decide in 4 of 5 audits?"""
        return self.chance >= DECIDES


@dataclass(frozen=True)
class MoreTrainings:
    """The cheapest number of trainings that would decide an inconclusive audit, if the difference stays as it is.

    Attributes:
        seeds, baseline_seeds: trainings of the pruned and of the full model, those that are there included.
        seconds: wall time of the audit that adds them, at the speed measured.
        confidence: at which the next look at these test rows will be judged.
    """

    seeds: int
    baseline_seeds: int
    seconds: float
    confidence: float


@dataclass(frozen=True)
class Readers:
    """Who else reads what this log holds.

    Attributes:
        features: feature -> its consumers.
        tables: source table -> consumers of it as a whole, or of features of it that this log does not have.
        note: what the consumers name and this log does not have, a sentence or empty.
    """

    features: dict[str, list[str]]
    tables: dict[str, list[str]]
    note: str = ""


@dataclass(frozen=True)
class Footprint:
    """What one model takes; None where it could not be measured.

    Attributes:
        features: that it reads.
        bytes_per_row: of these features in the log, as it is stored; ``plain_bytes_per_row``: before compression.
        model_bytes: of its weights.
        rows_per_second: raw rows encoded and scored in batches, on one CPU thread; ``batch_rows`` in each.
        latency_ms: median time for one raw row, the same way.
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
    """What one wave of the removal saves, in the order of removal; ``cost`` in the user's unit."""

    title: str
    features: list[str]
    cost: float
    bytes_per_row: float | None
    embedding_share: float | None


@dataclass(frozen=True)
class FadePoint:
    """Today's full model while a wave's features go missing, those of earlier waves being gone already.

    Attributes:
        wave: number in the order of removal, from 1; 0 = nothing is missing yet.
        coverage: share of the rows that still have the wave's features.
        metric: the decision metric's own value; ``delta``: its change against full coverage, higher is better.
    """

    wave: int
    coverage: float
    metric: float
    delta: float


@dataclass(frozen=True)
class Savings:
    """What is saved, measured on this audit's log and models.

    Attributes:
        bytes_from: how bytes are known; None where they are not.
        fading: empty without a pass; ``faded_rows``: validation rows that it was measured on.
    """

    full: Footprint
    pruned: Footprint
    bytes_from: str | None
    waves: list[WaveSavings]
    fading: list[FadePoint]
    faded_rows: int = 0


@dataclass(frozen=True)
class AuditReport:
    """Everything the report shows.

    Attributes:
        verdict, sentence: the verdict and the one sentence a product owner reads.
        metric, margin, confidence: of the decision.
        k, n_features: kept features and candidate features; ``n_columns`` counts excluded ones too. Of several K that
            were tested it is the smallest proven one, or the first where not even that one passed.
        deltas: decision row first.
        artifact_delta: the decision metric for *these trained artifacts* (test-row noise only); the
            verdict's own interval includes seed noise.
        curve, k_reason: the K curve, and why validation proposed its K in one sentence.
        ladder: the K that were trained, the one tested first at the head; ``k`` is one of them.
        target_quality: the full model's metric on validation; a point of the curve is good enough where its delta is
            at least ``-margin``.
        decisions: one row per feature column, kept first.
        findings: of the data.
        costs: per stage; ``plan``: what was expected of them.
        power: what the trainings were expected to decide.
        needed: for inconclusive, what would decide it (a sentence); ``more``: the trainings among that, None where no
            number of trainings would.
        look: which look at this table's test rows this is, counted from 1.
        judged_at: confidence of the intervals, which is higher than ``confidence`` where looks share the error; None =
            the same.
        stability: Nogueira index over selectors or None; ``convergence``: a sentence about the selector's state.
        trials: rows of the search (number, parameters, value, state); ``importances``: of its parameters.
        provenance: hashes, seeds, versions, resolved configuration, run ids.
        table_costs: source table -> what keeping it at all costs; saved when its last feature goes.
        margin_share: the margin as it was asked for where it was a share, e.g. ``1%``; ``margin`` is what it came to.
        production: the full model against the score in production, a sentence; None without one.
        weighting: how rows are weighted, and the effective sample size of the test split; None = all count alike.
        savings: what the pruned model saves, measured; None before the verdict.
        readers: who else reads the log's features; None where `consumers` is not given.
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
