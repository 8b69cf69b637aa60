"""The Optuna study: every trial is one selection run, with its own seed, slots and temperature schedule.

Few trials are quasi-random: the first has the recommended settings, the others fill the ranges evenly (a Halton
sequence, shifted by the seed), so that repeating the selection and searching its settings are one thing. From
``LEAST_TRIALS`` trials on, TPE draws from what the earlier trials showed, trials that fall behind are stopped, and the
settings' importances are reported: with fewer trials none of these has anything to go by.

The study lives in a journal file and can be killed at any moment: finished trials stay, a trial that was running is
marked as failed and drawn again with the same settings and seed.
"""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import qmc

from feature_audit.results import LEAST_TRIALS

log = logging.getLogger(__name__)

STUDY = "feature-audit/selection"
#: Seconds between two looks at the journal while other processes run the trials.
POLL = 0.5


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

    def point(self, draw: int, seed: int) -> dict[str, float]:
        """Settings of a trial among few.

        Args:
            draw: 0 = the recommended settings, the middle of every range; else the place in a Halton sequence.
            seed: shifts the sequence.
        """
        if draw == 0:
            place = np.full(4, 0.5)
        else:
            shift = np.random.default_rng(seed).random(4)
            place = (qmc.Halton(4, scramble=False).random(draw + 1)[draw] + shift) % 1.0
        low, high = self.slots
        return {
            "slots": int(np.clip(round(_between(self.slots, place[0], log=True)), low, high)),
            "temperature_start": _between(self.temperature_start, place[1], log=True),
            "temperature_end": _between(self.temperature_end, place[2], log=True),
            "anneal_share": _between(self.anneal_share, place[3], log=False),
        }


@dataclass(frozen=True)
class TrialResult:
    """What a trial hands back: a value to maximise, and notes (JSON) that are kept with it."""

    value: float
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialRow:
    """One trial of a study.

    Attributes:
        number: counted from 0, failed ones included.
        state: ``complete``, ``pruned`` or ``fail``.
        value: what the objective returned; None where the trial did not finish.
        settings: of the searched settings.
        seconds: wall time, None while unknown.
        notes: what the objective wanted to keep.
    """

    number: int
    state: str
    value: float | None
    settings: dict[str, float]
    seconds: float | None
    notes: dict[str, Any]

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


#: Called with the settings, the trial's ``draw`` (its place among those that did not fail, which seeds it) and
#: ``should_stop(step, value)``, or None where nothing is stopped early.
ShouldStop = Callable[[int, float], bool]
Objective = Callable[[dict[str, float], int, ShouldStop | None], TrialResult]


def run_study(
    objective: Objective,
    *,
    space: SearchSpace,
    trials: int,
    seed: int,
    journal: Path,
    workers: int = 1,
    on_start: Callable[[list[TrialRow]], None] | None = None,
    on_trial: Callable[[TrialRow], None] | None = None,
) -> StudySummary:
    """Run what is missing of ``trials`` trials and summarise the study.

    Args:
        objective: raises ``optuna.TrialPruned`` (with ``notes``) where ``should_stop`` said True. With several workers
            it is pickled, once for each.
        space: ranges of the settings.
        trials: trials to reach, those in the journal and those stopped early included.
        seed: one worker and the same seed give the same study, interrupted or not.
        journal: file that keeps the study.
        workers: processes that run trials at once.
        on_start: called once, with the trials that were finished before.
        on_trial: called for every trial that is finished by this call, soon after its end.

    Raises:
        RuntimeError: no trial finished.
    """
    study = _open(journal, seed)
    before = _finished(study)
    if on_start is not None:
        on_start([_row(trial) for trial in before])
    if len(before) < trials:
        settings: dict[str, Any] = {"space": space, "trials": trials, "seed": seed}
        if workers > 1:
            _run_workers(objective, study, journal=journal, workers=workers, on_trial=on_trial, **settings)
        else:
            _run_trials(objective, study, claim=nullcontext(), on_trial=on_trial, **settings)
    return _summarise(study)


def _run_workers(
    objective: Objective,
    study: Any,
    *,
    workers: int,
    on_trial: Callable[[TrialRow], None] | None,
    **settings: Any,
) -> None:
    """The same loop in several processes that share the journal; a worker's exception is raised here."""
    context = multiprocessing.get_context("spawn")  # a forked torch may deadlock in its threads
    told = {trial.number for trial in _finished(study)}
    stop = context.Event()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent, initargs=(stop,)) as pool:
        try:
            jobs = [pool.submit(_worker, objective, **settings) for _ in range(workers)]
            waiting = True
            while waiting:
                waiting = bool(wait(jobs, timeout=POLL).not_done)
                for trial in _finished(study):
                    if trial.number not in told and on_trial is not None:
                        on_trial(_row(trial))
                    told.add(trial.number)
        except BaseException:
            stop.set()  # otherwise the pool would wait for trials that are no longer wanted
            raise
        for job in jobs:
            job.result()


def _end_with_parent(stop: Any) -> None:
    """Let this worker end as soon as ``stop`` is set, or its parent is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        while parent.is_alive() and not stop.wait(POLL):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _worker(objective: Objective, *, journal: Path, **settings: Any) -> None:
    import optuna
    from filelock import FileLock

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=STUDY, storage=_storage(journal), pruner=_pruner())
    # Freed by the kernel where a worker is killed.
    _run_trials(objective, study, claim=FileLock(f"{journal}.claim.lock"), **settings)


def _run_trials(
    objective: Objective,
    study: Any,
    *,
    space: SearchSpace,
    trials: int,
    seed: int,
    claim: AbstractContextManager[Any],
    on_trial: Callable[[TrialRow], None] | None = None,
) -> None:
    """Run trials until ``trials`` are finished, stopped early or under way in other processes.

    ``claim`` is held while a trial is taken: workers that count at the same time would all take the last one.
    """
    from optuna.trial import TrialState

    few = trials < LEAST_TRIALS
    while True:
        with claim:
            count = Counter(trial.state for trial in study.get_trials(deepcopy=False))
            draw = count[TrialState.COMPLETE] + count[TrialState.RUNNING] + count[TrialState.PRUNED]
            if draw >= trials or count[TrialState.FAIL] >= 3 * trials:  # trials that keep failing must not spin on
                return
            study.sampler = _sampler(seed + 1000 * draw)
            # One that a killed process put there, and never took, is this same trial.
            if (few or draw == 0) and not count[TrialState.WAITING]:
                study.enqueue_trial(space.point(draw, seed))
            trial = study.ask()
        row = _run_trial(study, trial, objective, space, draw, stops=not few)
        if on_trial is not None and row is not None:
            on_trial(row)


def _open(journal: Path, seed: int) -> Any:
    """The study of a journal, made where it is new; trials that no process runs any more are marked as failed."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _cut_damage(journal)
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


def _cut_damage(journal: Path) -> None:
    """Leave of a journal what lies before the first line that a full disk, or a power cut, did not let be whole."""
    kept = 0
    for line in journal.read_bytes().splitlines(keepends=True) if journal.is_file() else []:
        try:
            whole = line.endswith(b"\n") and isinstance(json.loads(line), dict)
        except ValueError:
            whole = False
        if not whole:
            log.info("select: %s is damaged; what comes after its first %d bytes is done again", journal, kept)
            os.truncate(journal, kept)
            return
        kept += len(line)


def _storage(journal: Path) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    return optuna.storages.JournalStorage(JournalFileBackend(str(journal), lock_obj=JournalFileOpenLock(str(journal))))


def _pruner() -> Any:
    import optuna

    # Values differ between seeds as much as between settings, so only the plainly bad are stopped.
    return optuna.pruners.PercentilePruner(75.0, n_startup_trials=4, n_warmup_steps=0)


def _sampler(seed: int) -> Any:
    import optuna

    # Everything that v5 changed or may change is said here, so that a study means the same under every version.
    return optuna.samplers.TPESampler(n_startup_trials=4, multivariate=True, constant_liar=True, seed=seed % 2**32)


def _run_trial(
    study: Any, trial: Any, objective: Objective, space: SearchSpace, draw: int, *, stops: bool
) -> TrialRow | None:
    import optuna

    settings = {
        "slots": trial.suggest_int("slots", *space.slots, log=True),
        "temperature_start": trial.suggest_float("temperature_start", *space.temperature_start, log=True),
        "temperature_end": trial.suggest_float("temperature_end", *space.temperature_end, log=True),
        "anneal_share": trial.suggest_float("anneal_share", *space.anneal_share),
    }

    def should_stop(step: int, value: float) -> bool:
        trial.report(value, step)
        return bool(trial.should_prune())

    try:
        result = objective(settings, draw, should_stop if stops else None)
    except optuna.TrialPruned as pruned:
        trial.set_user_attr("notes", getattr(pruned, "notes", {}))
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return None
    except BaseException:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        raise
    trial.set_user_attr("notes", result.notes)
    study.tell(trial, result.value)
    return _row(study.trials[trial.number])


def _row(trial: Any) -> TrialRow:
    return TrialRow(
        number=trial.number,
        state=trial.state.name.lower(),
        value=trial.value,
        settings=dict(trial.params),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        notes=dict(trial.user_attrs.get("notes", {})),
    )


def _finished(study: Any) -> list[Any]:
    import optuna

    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def _summarise(study: Any) -> StudySummary:
    import optuna

    if not _finished(study):
        raise RuntimeError("no trial of the search finished")
    importances: dict[str, float] = {}
    if len(_finished(study)) >= LEAST_TRIALS:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        importances = dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    return StudySummary([_row(trial) for trial in study.get_trials(deepcopy=False)], importances)


def _between(bounds: tuple[float, float], share: float, *, log: bool) -> float:
    low, high = bounds
    return float(low * (high / low) ** share if log else low + (high - low) * share)
