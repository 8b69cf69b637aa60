"""Realistic audit reports for tests and for inspection: all verdicts, any size, optionally with hostile names."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any, Literal

from feature_audit.findings import Finding
from feature_audit.results import AuditReport, CurvePoint, FeatureDecision, LadderRung, MetricDelta, StageCost, Verdict

Decision = Literal["keep", "drop", "review"]

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "<!--<script>",
    "age[1]",
    "a|b|c",
    "`tick` *star* _under_ [link](javascript:alert(3))",
    "\"quotes\" & 'apostrophes' {{ 7 * 7 }} {% raw %}",
    "line\nbreak\tand\u2028separator",
    "数量_特征_Ω≈ç√_😀",
    "\u202eright-to-left override",
    "x" * 400,
    "back\\slash\\|pipe",
    "$HOME; rm -rf /",
)
TABLES = {
    "user_profile": 0.16,
    "item_catalogue": 0.16,
    "user_item_window": 0.22,
    "context": 0.06,
    "geo_enrichment": 0.1,
    "legacy_scores": 0.1,
    "partner_feed": 0.08,
    "item_embeddings": 0.12,
}
RETIRED = ("legacy_scores", "partner_feed")
STEMS = ("ctr_7d", "ctr_30d", "n_views", "n_bookings", "price_rank", "days_since_last", "country", "device", "stars")

#: verdict -> (delta, low, high) of the decision row.
EFFECTS: dict[str, tuple[float, float, float]] = {
    "pass": (-0.00041, -0.00113, 0.00031),
    "fail": (-0.00873, -0.01042, -0.00704),
    "inconclusive": (-0.00108, -0.00294, 0.00078),
}


def make_report(
    verdict: Verdict = "pass", *, n_features: int = 420, k: int = 120, hostile: bool = False, **changes: Any
) -> AuditReport:
    """A report like that of a real audit of a booking log; ``changes`` replace attributes."""
    if verdict == "error":
        return replace(_error(n_features), **changes)
    rng = random.Random(7)
    k = min(k, n_features - 1)
    delta, low, high = EFFECTS[verdict]
    target = 0.77184
    report = AuditReport(
        verdict=verdict,
        sentence=_sentence(verdict),
        metric="auc",
        margin=0.002,
        confidence=0.95,
        k=k,
        n_features=n_features,
        n_columns=n_features + 13,
        deltas=_deltas(verdict, delta, low, high),
        artifact_delta=_delta("auc", "all", (delta - 0.00012, low + 0.0003, high - 0.0004), 0.77121, (0.002, verdict)),
        curve=_curve(n_features, k, target, delta, rng),
        target_quality=target,
        k_reason=(
            f"K = {k} is the smallest K for which the test is expected to pass with 90% probability: "
            "validation auc 0.7715, -0.0004 ± 0.0009 against the full model"
        ),
        decisions=_decisions(n_features, k, rng, hostile),
        findings=_findings(rng, hostile),
        costs=[
            StageCost("load", 41.2, 0.0, "1,204,331 rows, 433 columns"),
            StageCost("baseline", 312.8, 1.0, "dcn_v2, 5 epochs"),
            StageCost("select", 402.5, 1.31, "3 trials, 1 pruned"),
            StageCost("retrain", 548.1, 1.62, "3 seeds"),
            StageCost("parity", 37.9, 0.04, "2,000 resamples of users"),
        ],
        provenance=_provenance(),
        recommendation="models:/feature-audit/7" if verdict == "pass" else None,
        needed=(
            "About 61,000 more test users (now 24,118), or 5 more retraining seeds, would narrow the interval to a "
            "half-width of 0.0009, which decides if the true change stays near −0.0011."
            if verdict == "inconclusive"
            else None
        ),
        stability=0.83,
        convergence="All slots converged: mean largest probability 0.995, 2 duplicates before assignment.",
        warnings=_warnings(verdict),
        trials=[
            _trial(0, "COMPLETE", 0.7703, k * 2, (10.0, 0.1, 0.8)),
            _trial(1, "COMPLETE", 0.7709, k, (14.2, 0.21, 0.66)),
            _trial(2, "PRUNED", None, k // 2, (3.1, 0.4, 0.93)),
        ],
        importances={"slots": 0.61, "temperature_end": 0.22, "learning_rate": 0.1, "temperature_start": 0.05},
        data_summary={
            "rows": 1_204_331,
            "rows_by_split": {"train": 819_226, "validation": 144_239, "test": 240_866},
            "users_in_test": 24_118,
            "positives": 0.0612,
            "split": "time: test from 2025-03-04",
            "null_share": {f"column_{i}": {"train": 0.01, "test": 0.02} for i in range(n_features)},
            "feature_kinds": {"numeric": 251, "categorical": 128, "boolean": 21, "multi": 8, "vector": 12},
        },
    )
    return replace(report, **changes)


def with_ladder(*tested: Verdict, ks: tuple[int, ...] = (120, 60, 30), **changes: Any) -> AuditReport:
    """A report of several K; ``tested`` are the verdicts of the first ones, the others were not tested."""
    passes = sum(verdict == "pass" for verdict in tested)
    report = make_report("pass" if passes else tested[0], k=ks[max(passes - 1, 0)], **changes)
    ladder = [LadderRung(k, 1 - k / report.n_features) for k in ks]
    for place, verdict in enumerate(tested):
        figures = (*EFFECTS[verdict], _sentence(verdict))
        ladder[place] = LadderRung(ks[place], ladder[place].share_dropped, place + 1, verdict, *figures)
    return replace(report, ladder=ladder)


def _sentence(verdict: str) -> str:
    """As ``parity`` words it."""
    change, interval, closing = {
        "pass": ("0.0004 worse", "−0.0011 to +0.0003", "a loss of 0.0020 or more is ruled out"),
        "fail": ("0.0087 worse", "−0.0104 to −0.0070", "it loses more than the margin of 0.0020"),
        "inconclusive": ("0.0011 worse", "−0.0029 to +0.0008", "a loss of 0.0020 is not ruled out"),
    }[verdict]
    evidence = f"(95% interval {interval}, 3 retrainings, 240,866 test rows from 24,118 user_id values)"
    return f"{verdict.title()}: the pruned model's AUC is {change} than the full model's {evidence}: {closing}."


def _trial(
    number: int, state: str, value: float | None, k: int, schedule: tuple[float, float, float]
) -> dict[str, Any]:
    names = ("temperature_start", "temperature_end", "anneal_share")
    return {
        "number": number,
        "state": state,
        "value": value,
        "k": k,
        **dict(zip(names, schedule, strict=True)),
    }


def _delta(
    metric: str,
    where: str,
    change: tuple[float, float, float],
    baseline: float,
    judged: tuple[float, Verdict] | None,
    *,
    role: Any = "decision",
    size: tuple[int, int] = (240_866, 24_118),
) -> MetricDelta:
    sign = -1 if metric in ("logloss", "normalised_entropy", "calibration") else 1
    margin, verdict = judged or (None, None)
    pruned = baseline + sign * change[0]
    return MetricDelta(metric, where, *size, baseline, pruned, *change, margin, verdict, role)


def _deltas(verdict: Verdict, delta: float, low: float, high: float) -> list[MetricDelta]:
    def scaled(factor: float) -> tuple[float, float, float]:
        return delta * factor, low * factor, high * factor

    def sliced(where: str, shift: float, widen: float, baseline: float, size: tuple[int, int]) -> MetricDelta:
        middle, half = delta + shift, (high - low) / 2 * widen
        return _delta(
            "auc", where, (middle, middle - half, middle + half), baseline, None, role="information", size=size
        )

    logloss: Verdict = "fail" if verdict == "fail" else "pass"
    entropy: Verdict = "inconclusive" if verdict == "fail" else "pass"
    nothing = (math.nan, math.nan, math.nan)
    return [
        _delta("auc", "all", (delta, low, high), 0.77121, (0.002, verdict)),
        sliced("device = mobile", -0.0002, 1.3, 0.7689, (151_204, 17_320)),
        sliced("device = desktop", 0.0003, 1.7, 0.7744, (80_112, 9_310)),
        sliced("country = Österreich & Schweiz", -0.0011, 4.8, 0.7611, (6_204, 802)),
        sliced("users: new", -0.0008, 2.1, 0.7422, (48_109, 9_204)),
        sliced("items: tail", 0.0001, 2.6, 0.7519, (31_002, 12_008)),
        sliced("country = Liechtenstein", 0.004, 19, 0.7012, (96, 11)),
        _delta("logloss", "all", scaled(0.25), 0.19876, (0.001, logloss), role="guard"),
        _delta("normalised_entropy", "all", scaled(0.5), 0.87123, (0.004, entropy), role="guard"),
        _delta("calibration", "all", (0.0012, -0.0041, 0.0065), 1.0112, (0.02, "pass"), role="guard"),
        _delta("gauc", "all", scaled(1.2), 0.69341, None, role="information", size=(198_332, 18_005)),
        _delta("ndcg", "all", nothing, math.nan, None, role="information", size=(0, 0)),
    ]


def _curve(n: int, k: int, target: float, delta: float, rng: random.Random) -> list[CurvePoint]:
    wanted = {1, 2, 4, 8, 15, k // 4, k // 2, int(k * 0.75), k, int(k * 1.4), k * 2, n}
    points = []
    for one in sorted(wanted & set(range(1, n + 1))):
        quality = target - 0.16 / one**0.95 - 0.0003 + rng.gauss(0, 0.00025)
        points.append(CurvePoint(one, quality, quality - target, "masked", 0.0006))
    points += [
        _retrained(k // 2 or 1, target, delta * 2.2 - 0.0012, 0.0005),
        _retrained(k, target, delta * 0.9, 0.0005),
        _retrained(min(n, k * 2), target, 0.0003, 0.0004),
    ]
    return points


def _retrained(k: int, target: float, delta: float, error: float) -> CurvePoint:
    return CurvePoint(k, target + delta, delta, "retrained", error)


def _decisions(n: int, k: int, rng: random.Random, hostile: bool) -> list[FeatureDecision]:
    tables = [name for name, share in TABLES.items() for _ in range(max(1, round(share * n)))]
    rng.shuffle(tables)
    tables = (tables * (n // len(tables) + 1))[:n]
    live = [index for index, table in enumerate(tables) if table not in RETIRED]
    order = live + [index for index, table in enumerate(tables) if table in RETIRED]
    names = [f"{tables[index].split('_')[0]}_{STEMS[index % len(STEMS)]}_{index}" for index in range(n)]
    if hostile:
        names[: len(HOSTILE)] = HOSTILE[:n]
    rows = []
    near = max(1, k // 40)
    for position, index in enumerate(order):
        rank = position + 1
        frequency = 1 / (1 + math.exp(min(50.0, (rank - k) / max(1.0, k * 0.06))))
        frequency = round(min(1.0, max(0.0, frequency + rng.gauss(0, 0.02))) * 20) / 20
        carried_by: str | None = None
        decision: Decision = "drop"
        reason = "noise: no selector needs it"
        if rank <= k:
            decision, reason = "keep", "signal" if rank % 37 else "protected: never_drop"
        elif rank <= k + near:
            decision, reason = "review", "close call: 60% of the selectors would keep it"
        elif rank % 3 == 0:
            carried_by = names[order[rng.randrange(max(1, min(k - near, 40)))]]
            reason = f"redundant with {carried_by}"
        elif rank % 41 == 0:
            reason = "constant"
        kind = ("numeric", "categorical", "numeric", "boolean", "vector")[index % 5]
        cost = round(12.5 + (index * 37) % 400, 2)
        score = math.exp(-4.2 * rank / n) * (0.9 + 0.2 * rng.random())
        about = (decision, reason, carried_by, kind, tables[index], cost)
        rows.append(FeatureDecision(names[index], rank, score, frequency, *about))
    return sorted(rows, key=lambda row: (("keep", "review", "drop").index(row.decision), row.rank))


def _findings(rng: random.Random, hostile: bool) -> list[Finding]:
    leak = "Alone it separates the label with a held-out auc of 0.9991."
    suspect = "Alone it reaches a held-out auc of 0.931; look at when it is written."
    overlap = "412 of 24,118 test users were seen in train; the split is by time, so this is expected."
    copy = "Equal to another column in every row."
    findings = [
        Finding("booking_confirmed_at", "leak", leak, excluded=True),
        Finding("refund_flag", "suspected_leak", suspect),
        *(Finding(f"legacy_flag_{i}", "constant", "One value in all 1,204,331 rows.", excluded=True) for i in range(7)),
        *(Finding(f"price_copy_{i}", "duplicate", copy, excluded=True, carried_by="price_rank_4") for i in range(3)),
        *(
            Finding(
                f"season_index_{i}", "drift", f"Separates train from test with an auc of {0.7 + rng.random() / 5:.3f}."
            )
            for i in range(5)
        ),
        Finding("", "split_overlap", overlap),
    ]
    if hostile:
        findings += [Finding(name, "other", f"Hostile {name}") for name in HOSTILE]
    return findings


def _warnings(verdict: str) -> list[str]:
    weak = (
        "The baseline is 0.0031 auc below gradient boosting on the same columns: parity with a weak model proves less."
    )
    return [weak] if verdict == "pass" else []


def _provenance() -> dict[str, Any]:
    return {
        "run_id": "4f1c0c9ad5e14b6ab1d35c1f0a9d7e22",
        "finished": "2026-11-23T17:02:11Z",
        "seed": 0,
        "retrain_seeds": [11, 12, 13],
        "hashes": {
            "data": "b2:9f86d081884c7d659a2feaa0c55ad015",
            "configuration": "b2:60303ae22b998861bce3b28f33eec1be",
            "split": "b2:fd61a03af4f77d870fc21e05e7e80678",
        },
        "versions": {"feature_audit": "0.1.0", "mlflow": "3.17.2", "torch": "2.13.0", "polars": "2.1.0"},
        "config": {
            "model_name": "feature-audit",
            "data": "bookings/*.parquet",
            "target": "booked",
            "k": 120,
            "margin": 0.002,
            "never_drop": ["position", "legal_*"],
            "training": {"batch_size": 1024, "learning_rate": 0.001},
            "prepare": None,
        },
    }


def _error(n_features: int) -> AuditReport:
    return AuditReport(
        verdict="error",
        sentence=(
            "target=booked: the column holds one value only in the test split (0 positives of 1,204 rows); "
            "choose an earlier test split or more data."
        ),
        metric="auc",
        margin=0.002,
        confidence=0.95,
        k=0,
        n_features=n_features,
        n_columns=n_features + 13,
        deltas=[],
        artifact_delta=None,
        curve=[],
        target_quality=math.nan,
        k_reason="",
        decisions=[],
        findings=[Finding("legacy_flag", "constant", "One value in all rows.", excluded=True)],
        costs=[StageCost("load", 4.2, 0.0), StageCost("baseline", 31.0, 1.0)],
        provenance=_provenance(),
    )
