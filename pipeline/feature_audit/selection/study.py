"""The Optuna study: every trial is one selection run, with its own seed, slots and temperature schedule.

Few trials are quasi-random: the first has the recommended settings, the others fill the ranges evenly (a Halton
sequence, shifted by the seed), so that repeating the selection and searching its settings are one thing. From
``LEAST_TRIALS`` trials on, TPE draws from what the earlier trials showed, trials that fall behind are stopped, and the
settings' importances are reported: with fewer trials there is too little evidence for any of these.

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

#: Trials of a round of a search, and finished trials from which on TPE draws settings and a limit stops trials.
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
        """Settings of a trial among few.

        Args:
            number: 0 = the recommended settings, the middle of every range; else the place in a Halton sequence.
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
        """The ranges as Optuna has them."""
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
        settings: of the searched settings.
        stop_below: an early value below it stops the trial; None = nothing does, and no early value is asked for.
    """

    number: int
    settings: dict[str, float]
    stop_below: float | None


@dataclass(frozen=True)
class TrialResult:
    """What a trial hands back.

    Attributes:
        value: to maximise; None where the trial was stopped.
        early: what was compared with ``Draw.stop_below``; None where nothing was.
        seconds: wall time.
        notes: plain values that are kept with it.
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
        value: what the trial came to; None where it was stopped.
        settings: of the searched settings.
        seconds: wall time, None while unknown.
        notes: what the trial wanted to keep.
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
        """As one flat row for people, without the notes."""
        head = {"number": self.number, "state": self.state, "value": self.value}
        return {**head, **self.settings, "seconds": self.seconds}


@dataclass(frozen=True)
class StudySummary:
    """A finished study.

    Attributes:
        trials: all of them.
        importances: setting -> share of the value's variance (PED-ANOVA); empty with fewer than ``LEAST_TRIALS``
            finished trials, where it would be noise.
    """

    trials: list[TrialRow]
    importances: dict[str, float]

    @property
    def finished(self) -> list[TrialRow]:
        """Trials that ran to their end, best value first; of equals the earlier one."""
        rows = [row for row in self.trials if row.state == "complete"]
        return sorted(rows, key=lambda row: (-(row.value if row.value is not None else math.inf), row.number))


#: Runs the trials of a round, in any order, and gives their results in the order of the draws.
RunRound = Callable[[Sequence[Draw]], Sequence[TrialResult]]


def run_study(run_round: RunRound, *, space: SearchSpace, trials: int, seed: int) -> StudySummary:
    """Run a study and summarise it.

    Args:
        run_round: runs trials.
        space: ranges of the settings.
        trials: how many, those stopped early included.
        seed: of the settings; the same one gives the same study.

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
    """Trials whose settings TPE draws, and the settings' importances."""
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
                trial.report(result.early, 1)  # by which TPE places a trial that was stopped
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
    """The lower quartile of what finished trials had early, and no limit while there are few of them.

    Values differ between seeds as much as between settings, so only the plainly bad are stopped.
    """
    return float(np.percentile(early, 25)) if len(early) >= INFORMED else -math.inf


def _sampler(seed: int) -> Any:
    import optuna

    # Everything that v5 changed or may change is said here, so that a study means the same under every version. Trials
    # rank together, so all of a round should be good: placing each away from those under way (constant liar) costs
    # what TPE gains (benchmarks/search/rounds.py).
    return optuna.samplers.TPESampler(
        n_startup_trials=INFORMED, multivariate=True, constant_liar=False, seed=seed % 2**32
    )


def _between(bounds: tuple[float, float], share: float, *, log: bool) -> float:
    low, high = bounds
    return float(low * (high / low) ** share if log else low + (high - low) * share)
