"""select: learn which features carry the model, for every K at once, and choose K on validation."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.fitting.cache import StageFolder
from feature_audit.fitting.progress import SearchProgress
from feature_audit.fitting.trained import Trained, open_store, touched_share
from feature_audit.search import SearchSpace, StudySummary, consensus, nogueira_index, run_study, voters
from feature_audit.stages.choice import Choice, confirm_k, propose
from feature_audit.stages.confirmations import MOST_WORK
from feature_audit.stages.cost import AUTO_SEEDS, MOST_FULL_TRAININGS
from feature_audit.stages.judge import ValidationJudge
from feature_audit.stages.load import budget
from feature_audit.stages.trial import Trials, searches

log = logging.getLogger(__name__)

#: What ``trials = auto`` means: so many, fewer where together they would cost more than so many full trainings, or more
#: than the confirmations and retrainings can leave them. A table whose full training is short makes trials dear.
AUTO_TRIALS = 3
MOST_TRIAL_WORK = 3.0
#: Stability at the proposed K (Nogueira's index) from which on another trial of ``auto`` would hardly change the
#: ranking that they make together: two trials share at least four of five features then.
AGREEMENT = 0.8
#: Retrainings that the progress bar has room for; its end moves where more are needed.
_CONFIRMATIONS = 6
#: Slots that the first trial has, if the budget is not smaller; more than twice so large a budget gives it more.
PLENTY_OF_SLOTS = 100

KEYS = (
    "k", "k_min", "k_rule", "margin", "confidence", "trials", "selector", "selection", "never_drop", "always_drop",
    "groups", "whole_groups", "seed", "metric", "cost", "profile",
)  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """What the search found.

    Attributes:
        names: the K kept features, in schema order.
        choice: K, the curve and why.
        masks: bool (trials, N), what each finished trial would keep at K.
        rank: (N,) int64, 1 = best, on which trials agree (``search.consensus``).
        scores: (N,) float64, of the best trial.
        summary: the study.
        convergence: a sentence about the selector's state.
        work: of all trials and confirmations.
    """

    names: tuple[str, ...]
    choice: Choice
    masks: np.ndarray
    rank: np.ndarray
    scores: np.ndarray
    summary: StudySummary
    convergence: str
    work: float


def select(
    config: AuditConfig,
    prepared: Prepared,
    full: Trained,
    folder: StageFolder,
    on_trial: Callable[[dict[str, Any]], None] | None = None,
) -> Selection:
    """Search selector settings, choose K, and name the K features; or open what was found before."""
    if folder.done:
        return _restore(folder)
    store = open_store(config, prepared)
    low, high = budget(config, prepared)
    with _progress(config, full, fixed=low == high) as progress:
        step = progress.trial_step if config.workers == 1 else None  # other processes tell of whole trials only
        summary = run_study(
            partial(Trials, config, prepared, full, low, high, folder.path, step),
            space=search_space(config, low, high),
            trials=_trials(config),
            seed=config.seed,
            journal=folder.path / "study.journal",
            workers=config.workers,
            most_work=partial(_most_work, config, prepared, full, folder.path) if config.trials == "auto" else None,
            agree=partial(_agree, config, prepared, folder.path) if config.trials == "auto" else None,
            on_start=lambda rows: progress.resume([_within(config, folder.path, row) for row in rows]),
            on_trial=partial(_tell, config, folder.path, progress, on_trial),
        )
        best = _read_trial(folder.path, summary.best)
        order = _ranked_together(config, prepared, folder.path, summary)
        judge = ValidationJudge(config, store, full.validation_scores())
        trial_work = sum(row["notes"].get("work", 0.0) for row in summary.trials)
        choice = confirm_k(config, prepared, store, judge, best["points"], order, low, high, full, progress)
    finished = [row["number"] for row in summary.trials if row["state"] == "complete"]
    masks = np.stack([_mask(_read_trial(folder.path, number)["order"], choice.k) for number in finished])
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    names = tuple(np.asarray(prepared.schema.names)[np.sort(order[: choice.k])])
    result = {
        "names": names,
        "choice": choice.to_dict(),
        "summary": asdict(summary),
        "convergence": best["convergence"],
        "work": trial_work + choice.work,
    }
    scores = np.array([-np.inf if score is None else score for score in best["scores"]])
    np.savez(folder.path / "selection.npz", masks=masks, rank=rank, scores=scores)
    folder.finish(result)
    log.info("select: %s", choice.reason)
    return _restore(folder)


def _agree(config: AuditConfig, prepared: Prepared, folder: Path, numbers: list[int]) -> bool:
    """Would trials, given best first, keep nearly the same features at the K that the best one proposes?"""
    trials = [_read_trial(folder, number) for number in numbers]
    k = propose(config, prepared, trials[0]["points"]).k
    stability = nogueira_index(np.stack([_mask(trial["order"], k) for trial in trials]))
    return stability is not None and stability >= AGREEMENT


def _ranked_together(config: AuditConfig, prepared: Prepared, folder: Path, summary: StudySummary) -> list[int]:
    """Features, best first, as the trials rank them together."""
    k = propose(config, prepared, _read_trial(folder, summary.best)["points"]).k
    # A trial ranks what it has slots for; behind them there is little but its concrete scores.
    rows = [row for row in summary.trials if row["state"] == "complete" and row["slots"] >= k]
    heard = [rows[place]["number"] for place in voters([row["value"] for row in rows])]
    if config.whole_groups:  # the best trial's alone: a ranking between two trials would tear groups apart
        heard = [summary.best]
    trials = [_read_trial(folder, number) for number in heard]
    return consensus([trial["order"] for trial in trials])


def _most_work(config: AuditConfig, prepared: Prepared, full: Trained, folder: Path, best: int) -> float:
    """What trials may cost together, going by the best of them so far.

    Confirmations and retrainings come after them, and what these will cost depends on the K that it proposes: on a
    narrow table nearly as much as the full model's training, each.
    """
    trial = _read_trial(folder, best)
    k = propose(config, prepared, trial["points"]).k
    kept = prepared.schema.keep(np.asarray(prepared.schema.names)[trial["order"][:k]])
    share = touched_share(config, prepared.schema, kept)
    later = 1 + max(MOST_WORK, share) + AUTO_SEEDS * share
    return max(0.0, min(MOST_TRIAL_WORK, MOST_FULL_TRAININGS[config.profile] - later)) * full.work


def search_space(config: AuditConfig, low: int, high: int) -> SearchSpace:
    """The study's ranges; a trial has at least a quarter of the budget as slots, or it could say little about K.

    The first one has half of it where that is plenty: most tables need far fewer than a large budget allows, and every
    slot costs. A peer has one trial only, so that is to rank them all.
    """
    chosen = config.selection
    plenty = max(PLENTY_OF_SLOTS, math.ceil(high / 2)) if searches(config) else high
    return SearchSpace(
        slots=(max(low, math.ceil(high / 4)), high),
        first_slots=max(low, min(high, plenty)),
        temperature_start=chosen.temperature_start,
        temperature_end=chosen.temperature_end,
        anneal_share=chosen.anneal_share,
        speed=chosen.speed,
    )


def _progress(config: AuditConfig, full: Trained, *, fixed: bool) -> SearchProgress:
    """A fixed K needs no confirmation."""
    return SearchProgress(
        trials=_trials(config),
        confirmations=0 if fixed else _CONFIRMATIONS,
        confirmation_seconds=0.0 if fixed else MOST_WORK * full.facts["seconds"],
    )


def _tell(
    config: AuditConfig,
    folder: Path,
    progress: SearchProgress,
    on_trial: Callable[[dict[str, Any]], None] | None,
    row: dict[str, Any],
) -> None:
    """Passes a finished trial on to everyone who wants to know."""
    progress.trial_done(_within(config, folder, row))
    if on_trial is not None:
        on_trial(row)


def _within(config: AuditConfig, folder: Path, row: dict[str, Any]) -> int | None:
    """The smallest K within the margin on a trial's masked curve."""
    points = _read_trial(folder, row["number"])["points"]
    return min((point["k"] for point in points if point["delta"] >= -config.margin), default=None)


def _trials(config: AuditConfig) -> int:
    """A peer has no settings to search: one trial says all."""
    if not searches(config):
        return 1
    return AUTO_TRIALS if config.trials == "auto" else config.trials


def _mask(order: list[int], k: int) -> np.ndarray:
    mask = np.zeros(len(order), dtype=bool)
    mask[np.asarray(order)[:k]] = True
    return mask


def _read_trial(folder: Path, number: int) -> dict[str, Any]:
    return dict(json.loads((folder / f"trial_{number}.json").read_text(encoding="utf-8")))


def _restore(folder: StageFolder) -> Selection:
    result = folder.result()
    arrays = np.load(folder.path / "selection.npz")
    return Selection(
        names=tuple(result["names"]),
        choice=Choice.from_dict(result["choice"]),
        masks=arrays["masks"],
        rank=arrays["rank"],
        scores=arrays["scores"],
        summary=StudySummary(**result["summary"]),
        convergence=result["convergence"],
        work=result["work"],
    )
