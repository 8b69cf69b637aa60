"""Label leaks: copies of the label, records written after the event, and missingness caused by it.

Rules, on the train split or a sample of it (scores are learned on one half of the rows and evaluated on the other):

leak (excluded)
    * one column by itself reaches ``checks.leak_auc`` (binary: AUC; multiclass: one-vs-rest AUC, classes weighted by
      their rows; regression: R-squared of the label's rank), by its value, its missingness, its calendar parts, or
      its distance to the time column or to a date assembled from year / month / day columns;
    * or a column is present, missing, or different from its most frequent value only on rows of one class (positive;
      any one of several; for regression all targets except the most frequent) that has at most 60 % of the rows, and
      enough rows show that exceptions are at least 20 times rarer than in the table (p < 0.01); one exception in
      1,000 rows is tolerated.
suspected_leak (reported, kept)
    * the same with ``checks.suspect_auc``, or with exceptions at least 3 times rarer;
    * exceptions at least 20 times rarer but more than one in 1,000, or in the rows of one value of several, or on
      rows of the negative class;
    * dates after the row's own time.

A strong but legitimate feature (a deposit policy with cancellations in 99.4 % of its bookings) is only suspected.
``purity`` explains how rows count as evidence.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy.stats import rankdata

from feature_audit.config.sections import ChecksConfig
from feature_audit.data.checks.predictive_power import (
    crossfit_auc,
    crossfit_class_auc,
    crossfit_r2,
    entry_scores,
    halves,
    number_codes,
    score_auc,
    score_r2,
    vector_scores,
    views,
)
from feature_audit.data.checks.purity import Evidence, Outcomes, pure_patterns
from feature_audit.data.columns.casting import as_datetime, as_lists, epoch
from feature_audit.data.columns.dates import anchors, moments_of, recorded_later
from feature_audit.data.table.dataset import LabelledTable
from feature_audit.data.table.statistics import Statistics
from feature_audit.findings import Finding
from feature_audit.schema import Column, Task

#: Maximum number of datetime columns that are compared pairwise.
MAX_DATES = 20


@dataclass(frozen=True)
class LabelScorer:
    """Labels, halves and thresholds of the sampled train rows, by which every column is judged."""

    task: Task
    label: np.ndarray
    half: np.ndarray
    checks: ChecksConfig

    def score(self, codes: np.ndarray) -> float:
        """Cross-fitted score of one view."""
        if self.task == "binary":
            return crossfit_auc(codes, self.label, self.half)
        return (crossfit_r2 if self.task == "regression" else crossfit_class_auc)(codes, self.label, self.half)

    @property
    def measure(self) -> str:
        """Name of ``score`` in messages."""
        return {"binary": "AUC", "regression": "R2 of the label's rank", "multiclass": "one-against-rest AUC"}[
            self.task
        ]

    def signals(self) -> Iterator[np.ndarray]:
        """0/1 or rank signals against which list entries and vector elements are scored."""
        if self.task == "regression":
            yield rankdata(self.label) / len(self.label)
        elif self.task == "binary":
            yield self.label.astype(np.float64)
        else:
            for one in np.argsort(-np.bincount(self.label), kind="stable")[:10]:
                yield (self.label == one).astype(np.float64)

    def evidence(self, codes: np.ndarray, words: str) -> Evidence:
        """Evidence from one view."""
        return self.evidence_of(self.score(codes), words)

    def evidence_of(self, score: float, words: str) -> Evidence:
        """Evidence from a given score."""
        text = f"{words} has a held-out {self.measure} of {score:.3f}"
        return Evidence(score, text, score >= self.checks.leak_auc, score >= self.checks.suspect_auc)


def of_target(name: str, table: LabelledTable, statistics: Statistics) -> tuple[LabelledTable, Statistics]:
    """The table with a further target as decision target, and the sampled train rows that have a label of it."""
    target, rows = table.further[name], statistics.sample_rows["train"]
    held = ~np.isnan(target.values[rows])
    samples = {**statistics.samples, "train": statistics.samples["train"].filter(pl.Series(held))}
    return replace(table, target=target), replace(
        statistics, samples=samples, sample_rows={**statistics.sample_rows, "train": rows[held]}
    )


def find_leaks(
    columns: tuple[Column, ...],
    table: LabelledTable,
    statistics: Statistics,
    checks: ChecksConfig,
    *,
    seed: int = 0,
    of: str = "",
) -> list[Finding]:
    """Leaks and suspicions among the columns.

    Args:
        columns: candidates that are neither constant nor duplicates.
        table: labels and times of all rows.
        statistics: pass 1, with the train sample.
        checks: thresholds.
        seed: seed of the halves.
        of: name of the target in findings; empty = the decision target.
    """
    sample = statistics.samples["train"]
    rows = statistics.sample_rows["train"]
    outcomes = Outcomes.of(table, statistics)
    scorer = LabelScorer(table.target.task, table.target.values[rows], halves(len(rows), seed), checks)
    time = None if table.time is None else table.time[rows]
    base = anchors(sample, time, is_datetime=table.time_is_datetime)
    findings = []
    for column in columns:
        fact = statistics.facts[column.name]
        values = sample[column.name]
        seen_as = views(column, values, fact)
        seen = [scorer.evidence(codes, _words(view)) for view, codes in seen_as.items()]
        seen += _inside(column, values, fact.separator, scorer)
        seen += _relative(column, values, fact.format, base, scorer)
        seen += pure_patterns(column, values, next(iter(seen_as.values())), outcomes)
        finding = _verdict(column, seen)
        if finding is not None:
            findings.append(finding)
    clear = tuple(
        c for c in columns if c.name not in {finding.column for finding in findings if finding.kind == "leak"}
    )
    findings += _date_pairs(clear, statistics, scorer)
    return [replace(one, detail=f"of target {of}: {one.detail}") for one in findings] if of else findings


def _date_pairs(columns: tuple[Column, ...], statistics: Statistics, scorer: LabelScorer) -> list[Finding]:
    """Pairs of dates whose distance predicts the label: the one recorded later leaks, if the order is known."""
    sample = statistics.samples["train"]
    moments = {
        column.name: epoch(as_datetime(sample[column.name], statistics.facts[column.name].format))
        for column in columns
        if column.kind == "datetime"
    }
    findings = []
    for one, other in itertools.combinations(list(moments)[:MAX_DATES], 2):
        seen = scorer.evidence(number_codes(moments[one] - moments[other]), f"the distance between {one} and {other}")
        if not seen.certain:
            continue
        recorded_after = recorded_later(one, other, moments)
        for column in columns:
            if column.name in ((one, other) if recorded_after is None else (recorded_after,)):
                sure = recorded_after is not None
                note = "; kept because of never_drop" if sure and column.protected else ""
                findings.append(
                    Finding(
                        column.name,
                        "leak" if sure else "suspected_leak",
                        seen.words + note,
                        excluded=sure and not column.protected,
                    )
                )
    return list({finding.column: finding for finding in findings}.values())


def _verdict(column: Column, seen: list[Evidence]) -> Finding | None:
    certain = [evidence for evidence in seen if evidence.certain]
    suspect = [evidence for evidence in seen if evidence.suspect]
    if not certain and not suspect:
        return None
    best = max(certain or suspect, key=lambda evidence: evidence.score)
    if not certain:
        return Finding(column.name, "suspected_leak", best.words)
    note = "; kept because of never_drop" if column.protected else ""
    return Finding(column.name, "leak", best.words + note, excluded=not column.protected)


def _words(view: str) -> str:
    known = {"value": "the column alone", "list": "the list as a whole", "length": "the length of the list"}
    return {**known, "filled": "whether it is present"}.get(view, f"its {view} alone")


def _inside(column: Column, values: pl.Series, separator: str | None, scorer: LabelScorer) -> list[Evidence]:
    """Evidence from entries of lists and elements of vectors."""
    score: Callable[[np.ndarray], np.ndarray]
    if column.kind == "multi":
        lists = as_lists(values, separator)
        words = "the entries of the list together"

        def score(signal: np.ndarray) -> np.ndarray:
            return entry_scores(lists, signal, scorer.half)

    elif column.kind == "vector":
        lists = as_lists(values, None)
        width = int(lists.list.len().max() or 0)  # type: ignore[arg-type]
        words = "a linear map of the vector"
        if not 0 < width <= 2_000:
            return []

        def score(signal: np.ndarray) -> np.ndarray:
            return vector_scores(values, width, signal, scorer.half)

    else:
        return []
    if scorer.task == "regression":
        found = score_r2(score(next(scorer.signals())), scorer.label, scorer.half)
    else:
        signals = list(scorer.signals())
        found = float(
            np.average(
                [score_auc(score(signal), signal, scorer.half) for signal in signals],
                weights=[1.0 if scorer.task == "binary" else signal.sum() for signal in signals],
            )
        )
    return [scorer.evidence_of(found, words)]


def _relative(
    column: Column, values: pl.Series, pattern: str | None, base: dict[str, np.ndarray], scorer: LabelScorer
) -> list[Evidence]:
    """Evidence from a date's distance to the anchors: the time column, and dates assembled from year, month and day."""
    moments = moments_of(column, values, pattern, base)
    if moments is None:
        return []
    seen = []
    for name, anchor in base.items():
        distance = moments - anchor
        seen.append(scorer.evidence(number_codes(distance), f"its distance to {name}"))
        held = np.isfinite(distance)
        after = float((_as_coarse(moments[held], anchor[held]) > anchor[held]).mean()) if held.any() else 0.0
        if name == "the time column" and after >= 0.05:
            seen.append(Evidence(0.5, f"{after:.0%} of its dates are later than the time of the row", False, True))
    return seen


def _as_coarse(moments: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """The moments cut to the years, months or days of the anchor: 10:00 is not later than the day that holds it."""
    times, cells = (each.astype(np.int64).astype("datetime64[us]") for each in (anchor, moments))
    for unit in ("Y", "M", "D"):
        whole = f"datetime64[{unit}]"
        if (times.astype(whole) == times).all():
            return cells.astype(whole).astype(times.dtype).astype(np.float64)
    return moments
