"""Values and gaps that occur only with one class: traces of the outcome itself (likes, amounts, dwell times).

A column that is written after the event departs from its default only on rows of one class, however few they are. The
evidence is the number of such rows, not their share of the class: a legitimate column departs from its default on rows
of other classes too, and the more rows without such an exception, the less plausible that becomes.

* A *departure* is a cell that is present where most are missing, missing where most are present, or different from the
  column's most frequent value (0, -1, "none", an empty list). A single value of many is weaker evidence: one of a
  hundred agents may well sell only bookings that are cancelled.
* The test is binomial. The other classes have a certain share of all rows; in the pattern their rows are *exceptions*.
  Exceptions are shown to be at least r times rarer than in the table if, at that rate, so few of them would be seen
  by chance in fewer than 1 of 100 cases.
* A class with more than 60 % of the rows is not tested, and the negative class never makes a leak certain: an article
  that is out of stock is never bought.
* Rows of one unit (user) that all show the pattern count once, because the pattern may be an attribute of the unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.stats import binom

from feature_audit.data.table.dataset import LabelledTable
from feature_audit.data.table.statistics import Statistics
from feature_audit.schema import Column

#: Relative rate of exceptions to a pattern: below the first it is a leak, below the second it is suspected.
OVERWHELMING = 1 / 20
NOTABLE = 1 / 3
#: Significance level of the binomial test of that rate.
CHANCE = 0.01
#: Share of one class from which a departure is pure: allows one recording error in 1,000 rows.
PURE = 0.999
#: Largest share of rows of a class that can be tested: for a majority class, many patterns are pure legitimately.
RULE = 0.6
#: Minimum number of rows for overwhelming evidence, for any class share.
_FEWEST = math.ceil(math.log(CHANCE) / math.log(1 - OVERWHELMING))


@dataclass(frozen=True)
class Evidence:
    """Attributes: ``score``, by which the finding names one; a description; whether it is certain or only suspect."""

    score: float
    words: str
    certain: bool
    suspect: bool


@dataclass(frozen=True)
class Outcomes:
    """Classes of the sampled train rows.

    Attributes:
        label: int64 (rows,), class of each row; for regression 1 if the label differs from its most frequent value.
        names: names of the classes, to follow "all of them".
        shares: float64 (classes,), each class's share of the rows.
        event: bool (classes,), False for the class without an event: the negative one, or the most frequent target.
        unit: int (rows,) codes of each row's unit, or None.
        rows: what messages call the rows.
    """

    label: np.ndarray
    names: Sequence[str]
    shares: np.ndarray
    event: np.ndarray
    unit: np.ndarray | None
    rows: str

    @classmethod
    def of(cls, table: LabelledTable, statistics: Statistics) -> Outcomes:
        """The outcomes of the train sample."""
        rows = statistics.sample_rows["train"]
        label, task = table.target.values[rows], table.target.task
        if task == "regression":
            values, counts = np.unique(label, return_counts=True)
            common = values[counts.argmax()]
            label, names = label != common, [f"with the target {common:g}", f"with a target other than {common:g}"]
        else:
            names = [f"of class {name!r}" for name in table.target.classes]
            names = ["negative", "positive"] if task == "binary" else names
        label = label.astype(np.int64)
        shares = np.bincount(label, minlength=len(names)) / max(len(label), 1)
        whole = len(rows) == table.split.rows()["train"]
        unit = None if table.group is None else table.group[0][rows]
        event = np.array([task == "multiclass" or code == 1 for code in range(len(names))])
        return cls(label, names, shares, event, unit, "train rows" if whole else "sampled train rows")


def pure_patterns(column: Column, values: pl.Series, codes: np.ndarray, outcomes: Outcomes) -> Iterator[Evidence]:
    """Evidence for every pattern of a column that occurs with one class.

    Args:
        column: its kind decides which codes mean a single value.
        values: raw cells (rows,).
        codes: int64 (rows,), the column's first view: 0 = missing.
        outcomes: classes of the same rows.
    """
    counts = np.bincount(codes)
    counts[0] = 0
    if column.kind in ("numeric", "datetime"):
        counts[1::2] = 0  # codes of ranges, not of single values
    common = int(counts.argmax())
    absent = codes == 0
    departures = {"missing": absent, "filled": ~absent} if absent.any() and not absent.all() else {}
    if counts[common]:
        departures[f"other than {_shown(values, codes == common)}"] = ~absent & (codes != common)
    for words, mask in departures.items():
        yield from _departure(words, mask, outcomes)
    frequent = np.flatnonzero(counts >= _FEWEST)
    if not len(frequent):
        return
    place = np.zeros(len(counts), dtype=np.int64)
    place[frequent] = np.arange(1, 1 + len(frequent))
    classes = len(outcomes.names)
    hits = np.bincount(place[codes] * classes + outcomes.label, minlength=(1 + len(frequent)) * classes)
    hits = hits.reshape(-1, classes)[1:]
    for code in frequent[hits.max(axis=1) > (1 - OVERWHELMING) * hits.sum(axis=1)]:
        yield from _value(codes == code, values, outcomes)


def _departure(words: str, mask: np.ndarray, outcomes: Outcomes) -> Iterator[Evidence]:
    seen = _Seen.of(mask, outcomes)
    pure, overwhelming = seen.purity >= PURE, seen.exceptions_below(OVERWHELMING)
    if overwhelming or (pure and seen.exceptions_below(NOTABLE)):
        certain = pure and overwhelming and seen.event
        doubt = "probably recorded after the event" if certain else "is it known before the event?"
        yield Evidence(seen.purity, f"{words} on {seen.words}: {doubt}", certain, True)


def _value(mask: np.ndarray, values: pl.Series, outcomes: Outcomes) -> Iterator[Evidence]:
    seen = _Seen.of(mask, outcomes)
    if seen.exceptions_below(OVERWHELMING):
        words = f"{_shown(values, mask)} on {seen.words}: is it known before the event?"
        yield Evidence(0.0, words, False, True)  # named only without other evidence, which says more about the column


@dataclass(frozen=True)
class _Seen:
    """Rows of one pattern.

    Attributes:
        rows, hits: independent rows, and how many of them have the most frequent class.
        share: that class's share of all rows.
        event: whether the class has an event.
        purity: that class's share of the pattern's rows.
        words: description for messages.
    """

    rows: int
    hits: int
    share: float
    event: bool
    purity: float
    words: str

    @classmethod
    def of(cls, mask: np.ndarray, outcomes: Outcomes) -> _Seen:
        counts = np.bincount(outcomes.label[mask], minlength=len(outcomes.names))
        rows, one = int(counts.sum()), int(counts.argmax())
        hits = int(counts[one])
        repeats = 0
        if outcomes.unit is not None and hits > (1 - NOTABLE) * rows:
            inside = np.bincount(outcomes.unit[mask])
            whole = inside == np.bincount(outcomes.unit)[: len(inside)]
            repeats = int((inside - 1)[whole & (inside > 0)].sum())
        share = "all" if hits == rows else f"{math.floor(1000 * hits / rows) / 10:g}%" if rows else "none"
        words = f"{rows:,} {outcomes.rows}, {share} of them {outcomes.names[one]}"
        return cls(
            rows - repeats,
            max(hits - repeats, 0),
            float(outcomes.shares[one]),
            bool(outcomes.event[one]),
            hits / max(rows, 1),
            words,
        )

    def exceptions_below(self, rate: float) -> bool:
        """Whether the rows show that exceptions are rarer than ``rate`` times their rate in the table."""
        if self.share > RULE:
            return False
        least = 1 - rate * (1 - self.share)
        return self.hits > least * self.rows and bool(binom.sf(self.hits - 1, self.rows, least) < CHANCE)


def _shown(values: pl.Series, mask: np.ndarray) -> str:
    """The common value of the rows, for messages."""
    value = values[int(mask.argmax())]
    value = value.to_list() if isinstance(value, pl.Series) else value
    return repr(value) if isinstance(value, str) else str(value)
