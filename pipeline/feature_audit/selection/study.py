"""The Optuna study: every trial is one selection run, with its own seed, slots and temperature schedule.

With few trials, settings are quasi-random: the first trial has the recommended settings, the others fill the ranges
evenly (a Halton sequence, shifted by the seed). Repeating the selection and searching its settings are thus the same.
From ``LEAST_TRIALS`` trials on, TPE draws settings based on earlier trials, weak trials are stopped early, and the
importance of each setting is reported; with fewer trials there is too little evidence for that.

Trials are requested in rounds whose size depends only on the number of trials, and reported in the order of their
numbers. Therefore the study does not depend on how many trials of a round run in parallel, or on the order in which
they end. It keeps no state: the caller stores the results, and a study that was killed is built again from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import qmc

from feature_audit.results import LEAST_TRIALS

#: Trials per round of a search, and finished trials after which TPE draws settings and weak trials are stopped.
ROUND, INFORMED = 4, 4


@dataclass(frozen=True)
class SearchSpace:
    """Ranges of the searched settings; a range of one value fixes a setting.

    Attributes:
        slots: number of concrete slots; log scale.
        temperature_start, temperature_end: log scale.
        anneal_share: share of the steps over which the temperature falls; linear.
    """

    slots: tuple[int, int]
    temperature_start: tuple[float, float]
    temperature_end: tuple[float, float]
    anneal_share: tuple[float, float]

    def point(self, number: int, seed: int) -> dict[str, float]:
        """Settings of a trial in a study without search.

        Args:
            number: 0 = the recommended settings, the middle of every range; else the index in a Halton sequence.
            seed: shifts the sequence.
        """
        if number == 0:
            place = np.full(4, 0.5)
        else:
            shift = np.random.default_rng(seed).random(4)
            place = (qmc.Halton(4, scramble=False).random(number + 1)[number] + shift) % 1.0
        low, high = self.slots
        return {
            "slots": int(np.clip(round(_between(self.slots, place[0], log=True)), low, high)),
            "temperature_start": _between(self.temperature_start, place[1], log=True),
            "temperature_end": _between(self.temperature_end, place[2], log=True),
            "anneal_share": _between(self.anneal_share, place[3], log=False),
        }

    def distributions(self) -> dict[str, Any]:
        """The ranges as Optuna distributions."""
        from optuna.distributions import FloatDistribution, IntDistribution

        return {
            "slots": IntDistribution(*self.slots, log=True),
            "temperature_start": FloatDistribution(*self.temperature_start, log=True),
            "temperature_end": FloatDistribution(*self.temperature_end, log=True),
            "anneal_share": FloatDistribution(*self.anneal_share),
        }


@dataclass(frozen=True)
class Draw:
    """A trial to run.

    Attributes:
        number: counted from 0; it seeds the trial.
        settings: values of the searched settings.
        stop_below: an early value below it stops the trial; None = the trial is not stopped and has no early value.
    """

    number: int
    settings: dict[str, float]
    stop_below: float | None


@dataclass(frozen=True)
class TrialResult:
    """Result of a trial.

    Attributes:
        value: to maximise; None if the trial was stopped.
        early: value that was compared with ``Draw.stop_below``; None if there was none.
        seconds: wall time.
        notes: plain values stored with the trial.
    """

    value: float | None
    early: float | None = None
    seconds: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialRow:
    """One trial of a study.

    Attributes:
        number: counted from 0.
        state: ``complete`` or ``pruned``.
        value: value of the trial; None if it was stopped.
        settings: values of the searched settings.
        seconds: wall time, None if unknown.
        notes: plain values stored with the trial.
    """

    number: int
    state: str
    value: float | None
    settings: dict[str, float]
    seconds: float | None
    notes: dict[str, Any]

    @classmethod
    def of(cls, draw: Draw, result: TrialResult) -> TrialRow:
        """The row of a trial that was run."""
        state = "pruned" if result.value is None else "complete"
        return cls(draw.number, state, result.value, draw.settings, result.seconds, result.notes)

    def shown(self) -> dict[str, Any]:
        """The row as one flat dict for display, without the notes."""
        head = {"number": self.number, "state": self.state, "value": self.value}
        return {**head, **self.settings, "seconds": self.seconds}


@dataclass(frozen=True)
class StudySummary:
    """A finished study.

    Attributes:
        trials: all of them.
        importances: setting -> share of the value's variance (PED-ANOVA); empty with fewer than ``LEAST_TRIALS``
            finished trials, as it would be noise.
    """

    trials: list[TrialRow]
    importances: dict[str, float]

    @property
    def finished(self) -> list[TrialRow]:
        """Trials that were not stopped, best value first; ties by number."""
        rows = [row for row in self.trials if row.state == "complete"]
        return sorted(rows, key=lambda row: (-(row.value if row.value is not None else math.inf), row.number))


#: Runs the trials of a round, in any order, and returns their results in the order of the draws.
RunRound = Callable[[Sequence[Draw]], Sequence[TrialResult]]


def run_study(run_round: RunRound, *, space: SearchSpace, trials: int, seed: int) -> StudySummary:
    """Run a study and summarise it.

    Args:
        run_round: runs trials.
        space: ranges of the settings.
        trials: number of trials, including those stopped early.
        seed: seed of the settings; the same seed gives the same study.

    Raises:
        RuntimeError: no trial finished.
    """
    if trials < LEAST_TRIALS:
        draws = [Draw(number, space.point(number, seed), None) for number in range(trials)]
        rows = [TrialRow.of(draw, result) for draw, result in zip(draws, run_round(draws), strict=True)]
        importances: dict[str, float] = {}
    else:
        rows, importances = _search(run_round, space, trials, seed)
    if not any(row.state == "complete" for row in rows):
        raise RuntimeError("none of the trials finished")
    return StudySummary(rows, importances)


def _search(run_round: RunRound, space: SearchSpace, trials: int, seed: int) -> tuple[list[TrialRow], dict[str, float]]:
    """Trials with settings drawn by TPE, and the importances of the settings."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=_sampler(seed))
    study.enqueue_trial(space.point(0, seed))
    rows: list[TrialRow] = []
    early: list[float] = []  # of the trials that finished
    while len(rows) < trials:
        asked = []
        for number in range(len(rows), min(len(rows) + ROUND, trials)):
            study.sampler = _sampler(seed + 1000 * number)
            asked.append(study.ask(space.distributions()))
        limit = _limit(early)
        draws = [Draw(trial.number, dict(trial.params), limit) for trial in asked]
        for trial, draw, result in zip(asked, draws, run_round(draws), strict=True):
            if result.early is not None:
                trial.report(result.early, 1)  # TPE uses it to rank a stopped trial
            if result.value is None:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, result.value)
                early += [] if result.early is None else [result.early]
            rows.append(TrialRow.of(draw, result))
    importances: dict[str, float] = {}
    if sum(row.state == "complete" for row in rows) >= LEAST_TRIALS:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        importances = dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    return rows, importances


def _limit(early: Sequence[float]) -> float:
    """The lower quartile of the finished trials' early values; no limit while there are few of them.

    Values vary between seeds as much as between settings, so only clearly bad trials are stopped.
    """
    return float(np.percentile(early, 25)) if len(early) >= INFORMED else -math.inf


def _sampler(seed: int) -> Any:
    import optuna

    # All options that v5 changed or may change are explicit, so that a study is the same in every version. The rankings
    # of all trials are combined, so all trials of a round should be good: separating parallel trials (constant liar)
    # costs as much as TPE gains (benchmarks/search/rounds.py).
    return optuna.samplers.TPESampler(
        n_startup_trials=INFORMED, multivariate=True, constant_liar=False, seed=seed % 2**32
    )


def _between(bounds: tuple[float, float], share: float, *, log: bool) -> float:
    low, high = bounds
    return float(low * (high / low) ** share if log else low + (high - low) * share)
