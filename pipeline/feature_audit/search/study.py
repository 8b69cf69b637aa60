"""An Optuna study over the selector's settings, kept in a journal file.

One trial is one concrete training and yields a quality curve over every K, so few trials are needed. The study can be
killed at any moment: finished trials stay in the journal, a trial that was running is marked as failed, and the sampler
and the objective draw by the number of trials that did not fail, so that a resumed study is what an uninterrupted one
would have been.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feature_audit.results import LEAST_TRIALS

log = logging.getLogger(__name__)

STUDY = "feature-audit/selector"
#: Seconds between two looks at the journal while other processes run the trials.
POLL = 0.5


@dataclass(frozen=True)
class SearchSpace:
    """Ranges of the searched settings; a range of one value fixes a setting.

    Attributes:
        slots: number of concrete slots, the largest K a trial can say anything about; log scale.
        first_slots: of the first trial. Where quality still rises at its last slot, the next trial takes all.
        temperature_start, temperature_end, speed: log scale; speed multiplies the automatic learning rate.
        anneal_share: share of the steps over which the temperature falls.
    """

    slots: tuple[int, int]
    first_slots: int
    temperature_start: tuple[float, float]
    temperature_end: tuple[float, float]
    anneal_share: tuple[float, float]
    speed: tuple[float, float]

    def defaults(self) -> dict[str, float]:
        """The first trial: its own number of slots, and the geometric middle of every other range."""
        return {
            "slots": self.first_slots,
            "temperature_start": _middle(self.temperature_start),
            "temperature_end": _middle(self.temperature_end),
            "anneal_share": sum(self.anneal_share) / 2,
            "speed": _middle(self.speed),
        }


@dataclass(frozen=True)
class TrialResult:
    """What a trial hands back.

    Attributes:
        value: to maximise.
        notes: anything worth keeping beside it (JSON).
        more_slots: did it have too few slots to say which K is enough?
    """

    value: float
    notes: dict[str, Any] = field(default_factory=dict)
    more_slots: bool = False


@dataclass(frozen=True)
class StudySummary:
    """A finished study.

    Attributes:
        trials: one row per trial: number, state, value, parameters, notes.
        best: number of the best finished trial.
        importances: parameter -> share of the value's variance (PED-ANOVA); empty with fewer than ``LEAST_TRIALS``
            finished trials, where it would be noise.
    """

    trials: list[dict[str, Any]]
    best: int
    importances: dict[str, float]


Objective = Callable[[int, dict[str, float], Callable[[int, float], bool]], TrialResult]


def run_study(
    make_objective: Callable[[], Objective],
    *,
    space: SearchSpace,
    trials: int,
    seed: int,
    journal: Path,
    workers: int = 1,
    most_work: Callable[[int], float] | None = None,
    agree: Callable[[list[int]], bool] | None = None,
    on_start: Callable[[list[dict[str, Any]]], None] | None = None,
    on_trial: Callable[[dict[str, Any]], None] | None = None,
) -> StudySummary:
    """Run what is missing of ``trials`` trials and summarise the study.

    Args:
        make_objective: gives the objective; with several workers it is pickled and called once in each process. The
            objective is called with the trial's number, its settings and ``should_stop(step, value)``, which is True
            once an intermediate value (higher is better) is in the last quarter of earlier trials' at that step. Beside
            the searched settings there is ``draw``, the trial's place among those that did not fail: random numbers are
            to be seeded by it and not by the number, which an interruption shifts.
        space: ranges of the settings.
        trials: trials to reach, those in the journal and those stopped early included.
        seed: of the sampler. One worker and the same seed give the same study, interrupted or not.
        journal: file that keeps the study.
        workers: processes that run trials at once.
        most_work: what trials may cost together, given the number of the best one so far: no further trial is started
            where one like those before, by their ``notes["work"]``, would exceed it. None = no limit.
        agree: do trials, given their numbers, best first, say so much the same that another would add nothing? Asked of
            two or more of which one had slots enough. None = never.
        on_start: called once, with the summary rows of the trials that were finished before.
        on_trial: called with a summary row for every trial that is finished by this call, soon after its end.

    Raises:
        RuntimeError: no trial finished.
    """
    study = _open(journal, seed)
    before = _finished(study)
    if on_start is not None:
        on_start([_row(trial) for trial in before])
    if len(before) < trials:
        if not before:
            study.enqueue_trial(space.defaults(), skip_if_exists=True)
        settings: dict[str, Any] = {
            "space": space, "trials": trials, "seed": seed, "most_work": most_work, "agree": agree,
        }  # fmt: skip
        if workers > 1:
            _run_workers(make_objective, study, journal=journal, workers=workers, on_trial=on_trial, **settings)
        else:
            _run_trials(make_objective(), study, claim=nullcontext(), on_trial=on_trial, **settings)
    return _summarise(study)


def _run_workers(
    make_objective: Callable[[], Objective],
    study: Any,
    *,
    workers: int,
    on_trial: Callable[[dict[str, Any]], None] | None,
    **settings: Any,
) -> None:
    """The same loop in several processes that share the journal; a worker's exception is raised here."""
    context = multiprocessing.get_context("spawn")  # a forked torch may deadlock in its threads
    told = {trial.number for trial in _finished(study)}
    with context.Manager() as manager, ProcessPoolExecutor(workers, mp_context=context) as pool:
        claim = manager.Lock()
        jobs = [pool.submit(_worker, make_objective, claim=claim, **settings) for _ in range(workers)]
        waiting = True
        while waiting:
            waiting = bool(wait(jobs, timeout=POLL).not_done)
            for trial in _finished(study):
                if trial.number not in told and on_trial is not None:
                    on_trial(_row(trial))
                told.add(trial.number)
        for job in jobs:
            job.result()


def _worker(make_objective: Callable[[], Objective], *, journal: Path, **settings: Any) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=STUDY, storage=_storage(journal), pruner=_pruner())
    _run_trials(make_objective(), study, **settings)


def _run_trials(
    objective: Objective,
    study: Any,
    *,
    space: SearchSpace,
    trials: int,
    seed: int,
    most_work: Callable[[int], float] | None,
    agree: Callable[[list[int]], bool] | None,
    claim: AbstractContextManager[Any],
    on_trial: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Run trials until ``trials`` are finished, stopped early or under way in other processes.

    ``claim`` is held while a trial is taken: workers that count at the same time would all take the last one.
    """
    from optuna.trial import TrialState

    while True:
        with claim:
            count = Counter(trial.state for trial in study.get_trials(deepcopy=False))
            draw = count[TrialState.COMPLETE] + count[TrialState.RUNNING] + count[TrialState.PRUNED]
            if draw >= trials or count[TrialState.FAIL] >= 3 * trials:  # trials that keep failing must not spin on
                return
            finished = _finished(study)
            if finished and most_work is not None and _with_another(finished) > most_work(_best(finished)):
                log.info("select: no further trials: together they would exceed the cost limit")
                return
            if _all_slots_wanted(study, space):
                study.enqueue_trial({**space.defaults(), "slots": space.slots[1]}, skip_if_exists=True)
            elif len(finished) > 1 and agree is not None and agree(_best_first(finished)):
                log.info("select: no further trials: those so far agree")
                return
            study.sampler = _sampler(seed + 1000 * draw)
            trial = study.ask()
        row = _run_trial(study, trial, objective, space, draw)
        if on_trial is not None and row is not None:
            on_trial(row)


def _all_slots_wanted(study: Any, space: SearchSpace) -> bool:
    """Did all finished trials have too few slots, with none under way or stopped that has all?"""
    finished = _finished(study)
    short = bool(finished) and all(trial.user_attrs.get("more_slots", False) for trial in finished)
    return short and all(trial.params.get("slots") != space.slots[1] for trial in study.get_trials(deepcopy=False))


def _with_another(finished: list[Any]) -> float:
    """Work of the trials so far and of one more like them."""
    works = [trial.user_attrs.get("notes", {}).get("work", 0.0) for trial in finished]
    return float(sum(works) * (1 + 1 / len(works)))


def _open(journal: Path, seed: int) -> Any:
    """The study of a journal, made where it is new; trials that no process runs any more are marked as failed."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=STUDY,
        storage=_storage(journal),
        direction="maximize",
        load_if_exists=True,
        sampler=_sampler(seed),
        pruner=_pruner(),
    )
    for trial in study.get_trials(deepcopy=False):
        if trial.state == optuna.trial.TrialState.RUNNING:
            # The process that ran it is gone: one audit holds its stage folder alone.
            log.info("select: trial %d was interrupted; it is marked as failed", trial.number)
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _storage(journal: Path) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    return optuna.storages.JournalStorage(JournalFileBackend(str(journal), lock_obj=JournalFileOpenLock(str(journal))))


def _pruner() -> Any:
    import optuna

    # Values differ between seeds as much as between settings (docs/search.md), so only the plainly bad are stopped.
    return optuna.pruners.PercentilePruner(75.0, n_startup_trials=4, n_warmup_steps=0)


def _sampler(seed: int) -> Any:
    import optuna

    # Everything that v5 changed or may change is said here, so that a study means the same under every version.
    return optuna.samplers.TPESampler(n_startup_trials=4, multivariate=True, constant_liar=True, seed=seed)


def _run_trial(study: Any, trial: Any, objective: Objective, space: SearchSpace, draw: int) -> dict[str, Any] | None:
    import optuna

    settings = {
        "slots": trial.suggest_int("slots", *space.slots, log=True),
        "temperature_start": trial.suggest_float("temperature_start", *space.temperature_start, log=True),
        "temperature_end": trial.suggest_float("temperature_end", *space.temperature_end, log=True),
        "anneal_share": trial.suggest_float("anneal_share", *space.anneal_share),
        "speed": trial.suggest_float("speed", *space.speed, log=True),
        "draw": draw,
    }

    def should_stop(step: int, value: float) -> bool:
        trial.report(value, step)
        return bool(trial.should_prune())

    try:
        result = objective(trial.number, settings, should_stop)
    except optuna.TrialPruned as pruned:
        trial.set_user_attr("notes", getattr(pruned, "notes", {}))
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return None
    except BaseException:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        raise
    trial.set_user_attr("notes", result.notes)
    trial.set_user_attr("more_slots", result.more_slots)
    study.tell(trial, result.value)
    return _row(study.trials[trial.number])


def _row(trial: Any) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value,
        **trial.params,
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "notes": trial.user_attrs.get("notes", {}),
    }


def _finished(study: Any) -> list[Any]:
    import optuna

    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def _summarise(study: Any) -> StudySummary:
    import optuna

    finished = _finished(study)
    if not finished:
        raise RuntimeError("no trial of the search finished")
    importances: dict[str, float] = {}
    if len(finished) >= LEAST_TRIALS:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        importances = dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    return StudySummary([_row(trial) for trial in study.get_trials(deepcopy=False)], _best(finished), importances)


def _best(finished: list[Any]) -> int:
    """Number of the best trial; a tie goes to the earlier one, so that the result is reproducible."""
    return _best_first(finished)[0]


def _best_first(finished: list[Any]) -> list[int]:
    return [trial.number for trial in sorted(finished, key=lambda trial: (-trial.value, trial.number))]


def _middle(bounds: tuple[float, float]) -> float:
    return float((bounds[0] * bounds[1]) ** 0.5)
