"""select: learn which features carry the model, for every K at once, and choose K on validation."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from concrete_selectors import PathSettings, SelectionPath, SelectionStopped, learn_path
from torch import Tensor

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.errors import AuditError
from feature_audit.models import OpenFields, resolve_device, row_loss, to_scores
from feature_audit.search import SearchSpace, StudySummary, TrialResult, run_study
from feature_audit.stages.baseline import Trained, load_model
from feature_audit.stages.cache import StageFolder
from feature_audit.stages.choice import MOST_CONFIRMATIONS, MOST_WORK, Choice, ValidationJudge, confirm_k
from feature_audit.stages.cost import FORWARD_SHARE, touched_parameters
from feature_audit.stages.load import budget, protected_fields, ruled_out_fields, unit_ids
from feature_audit.stages.process import tune_process
from feature_audit.stages.progress import SearchProgress

log = logging.getLogger(__name__)

KEYS = (
    "k", "k_min", "k_rule", "margin", "confidence", "trials", "selector", "selection", "never_drop", "always_drop",
    "groups", "whole_groups", "seed", "metric", "cost",
)  # fmt: skip
_EVALUATION_ROWS = 4096
#: Train batches from which the means of features that always_drop shuts are taken.
_MEAN_BATCHES = 8


@dataclass(frozen=True)
class Selection:
    """What the search found.

    Attributes:
        names: the K kept features, in schema order.
        choice: K, the curve and why.
        masks: bool (trials, N), what each finished trial would keep at K.
        rank: (N,) int64, 1 = best, of the chosen trial.
        scores: (N,) float64, of the chosen trial.
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
        return _restore(folder, prepared)
    store = Store.open(prepared.directory)
    low, high = budget(config, prepared)
    with _progress(config, full, fixed=low == high) as progress:
        step = progress.trial_step if config.workers == 1 else None  # other processes tell of whole trials only
        summary = run_study(
            partial(_Trials, config, prepared, full, low, high, folder.path, step),
            space=search_space(config, low, high),
            trials=_trials(config),
            seed=config.seed,
            journal=folder.path / "study.journal",
            workers=config.workers,
            on_start=lambda rows: progress.resume([_within(config, folder.path, row) for row in rows]),
            on_trial=partial(_tell, config, folder.path, progress, on_trial),
        )
        best = _read_trial(folder.path, summary.best)
        judge = ValidationJudge(config, store, full.validation_scores())
        choice = confirm_k(
            config, prepared, store, judge, best["points"], best["order"], low, high, full.work, progress
        )
    finished = [row["number"] for row in summary.trials if row["state"] == "complete"]
    masks = np.stack([_mask(_read_trial(folder.path, number)["order"], choice.k) for number in finished])
    order = np.asarray(best["order"])
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    names = tuple(np.asarray(prepared.schema.names)[np.sort(order[: choice.k])])
    spent = sum(row["notes"].get("work", 0.0) for row in summary.trials) + choice.work
    result = {
        "names": names,
        "choice": choice.to_dict(),
        "summary": asdict(summary),
        "convergence": best["convergence"],
        "work": spent,
    }
    scores = np.array([-np.inf if score is None else score for score in best["scores"]])
    np.savez(folder.path / "selection.npz", masks=masks, rank=rank, scores=scores)
    folder.finish(result)
    log.info("select: %s", choice.reason)
    return _restore(folder, prepared)


def search_space(config: AuditConfig, low: int, high: int) -> SearchSpace:
    """The study's ranges; a trial has at least a quarter of the budget as slots, or it could say little about K."""
    chosen = config.selection
    return SearchSpace(
        slots=(max(low, math.ceil(high / 4)), high),
        temperature_start=chosen.temperature_start,
        temperature_end=chosen.temperature_end,
        anneal_share=chosen.anneal_share,
        speed=chosen.speed,
    )


def _progress(config: AuditConfig, full: Trained, *, fixed: bool) -> SearchProgress:
    """A fixed K needs no confirmation."""
    return SearchProgress(
        trials=_trials(config),
        confirmations=0 if fixed else MOST_CONFIRMATIONS,
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
    return config.trials if _searches(config) else 1


def _searches(config: AuditConfig) -> bool:
    return config.selector in ("ip_cae", "cae")


class _Trials:
    """The study's objective: one concrete training, one curve."""

    def __init__(
        self,
        config: AuditConfig,
        prepared: Prepared,
        full: Trained,
        low: int,
        high: int,
        folder: Path,
        progress: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        if config.workers > 1:
            tune_process(threads=1)  # a process of its own: as many threads each would only wait for each other
        self.store = store = Store.open(prepared.directory)
        self.config, self.schema, self.folder = config, prepared.schema, folder
        self.low, self.high, self.progress = low, high, progress
        self.device = resolve_device(config.device)
        self.model: Any = load_model(config, full).to(self.device)  # of the model contract: embed, predict
        self.touched = touched_parameters(self.model, len(self.schema.fields), config.training.embedding_dim)
        self.ruled_out = ruled_out_fields(config, prepared)
        self.open = np.setdiff1d(np.arange(len(self.schema.fields)), self.ruled_out)
        if self.ruled_out:
            batches = (batch for batch, _ in islice(self._train(0), _MEAN_BATCHES))
            self.model = OpenFields(self.model, self.open.tolist(), batches)
        # The selector numbers the open features from 0; what it hands back is numbered by the schema again.
        self.protected = np.searchsorted(self.open, protected_fields(config, prepared)).tolist()
        units = unit_ids(config, prepared)
        self.units = None if units is None else [units[index] for index in self.open]
        self.judge = ValidationJudge(config, store, full.validation_scores())
        self.prior = _cost_prior(prepared, self.open)

    def __call__(
        self, number: int, settings: dict[str, float], should_stop: Callable[[int, float], bool]
    ) -> TrialResult:
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.config.seed + int(settings["draw"]))  # of the network's dropout
            path = self.learn(number, settings, lambda step, loss: should_stop(step, -loss))
        points = []
        for units in path.ks:  # with whole groups the path counts groups; the audit counts features
            k = len(path.subset(units))
            if self.low <= k <= self.high:
                points.append(self.judge.point(k, self._scores(path, units), odd_rows_only=True))
        if not points:
            smallest = len(path.subset(min(path.ks)))
            raise AuditError(
                f"k={self.config.k}: no set of whole groups holds {self.low} to {self.high} features (the best single "
                f"one has {smallest}); raise k or take a group out of whole_groups"
            )
        passes = path.row_passes
        measured = self.store.rows("validation") * len(points)  # the curve above: one forward pass per K
        forward = FORWARD_SHARE * (passes["forward"] + measured)
        spent = (passes["forward_backward"] + forward) * self.touched + path.solver_work
        scores = np.full(len(self.schema.fields), -np.inf)
        scores[self.open] = path.scores
        content = {
            "order": [*self.open[path.ranking].tolist(), *self.ruled_out],
            "scores": [float(value) if math.isfinite(value) else None for value in scores],
            "points": [asdict(point) for point in points],
            "convergence": describe_convergence(path),
        }
        (self.folder / f"trial_{number}.json").write_text(json.dumps(content), encoding="utf-8")
        notes = {"work": spent, "threads": torch.get_num_threads()}  # seconds mean little without the threads
        return TrialResult(curve_value([asdict(point) for point in points], self.low, self.high), notes)

    def learn(
        self, number: int, settings: dict[str, float], should_stop: Callable[[int, float], bool]
    ) -> SelectionPath:
        """One path with the trial's settings; peers have no settings and are ranked instead."""
        import optuna

        chosen = PathSettings(
            k_max=int(settings["slots"]),
            k_min=self.low if self.units is None else 1,
            selector="cae" if self.config.selector == "cae" else "ip_cae",
            epochs=self.config.selection.epochs,
            temperature_start=settings["temperature_start"],
            temperature_end=settings["temperature_end"],
            anneal_share=settings["anneal_share"],
            speed=settings["speed"],
            network_learning_rate=self.config.training.learning_rate,
            noise_masks=self.config.selection.noise_masks,
            seed=self.config.seed + int(settings["draw"]),
        )
        common: dict[str, Any] = {
            "loss": row_loss(self.schema.task),
            "steps_per_epoch": math.ceil(self.store.rows("train") / self.config.training.batch_size),
            "settings": chosen,
            "protected": self.protected,
            "groups": self.units,
        }
        if not _searches(self.config):
            from concrete_selectors import rank_with

            return rank_with(
                self.config.selector, self.model, self._train, self._validation, matrix=self._matrix, **common
            )
        try:
            return learn_path(
                self.model, self._train, self._validation, prior=self.prior, should_stop=should_stop,
                progress=self.progress, **common,
            )  # fmt: skip
        except SelectionStopped as stopped:
            log.info("select: trial %d %s", number, stopped)
            raise optuna.TrialPruned from stopped

    def _train(self, epoch: int) -> Iterator[tuple[Any, Tensor]]:
        seed = self.config.seed * 7919 + epoch + 1
        for batch in self.store.batches("train", self.config.training.batch_size, seed=seed, schema=self.schema):
            on_device = batch.to(self.device)
            yield on_device, on_device.target

    def _validation(self, _: int) -> Iterator[tuple[Any, Tensor]]:
        for batch in self.store.batches("validation", _EVALUATION_ROWS, schema=self.schema):
            on_device = batch.to(self.device)
            yield on_device, on_device.target

    def _matrix(self) -> tuple[np.ndarray, np.ndarray]:
        return self.store.matrix("train", self.schema)[:, self.open], self.store.target("train")

    def _scores(self, path: SelectionPath, k: int) -> np.ndarray:
        return to_scores(path.predict(self._validation(0), k), self.schema.task).numpy()


def curve_value(points: list[dict[str, Any]], low: int, high: int) -> float:
    """Mean improvement over the full model along the curve, K on a log scale from ``low`` to ``high``.

    Fewer slots than the budget are no fault (K may stay below it), so the curve is continued flat to ``high``.
    """
    best = np.maximum.accumulate([point["delta"] for point in points])
    ks = np.log([point["k"] for point in points])
    grid = np.linspace(math.log(low), math.log(high), 64)
    return float(np.interp(grid, ks, best).mean())


def describe_convergence(path: SelectionPath) -> str:
    """One sentence for the report."""
    state = "converged" if path.converged else "did not fully converge"
    return (
        f"The selector {state}: mean largest probability {path.mean_max_probability:.3f}, "
        f"{path.n_duplicate_argmax} slots chose a feature that another slot also wanted "
        "(made distinct by maximum-weight assignment)."
    )


def _cost_prior(prepared: Prepared, open_fields: np.ndarray) -> Tensor | None:
    """Dearer features start with lower logits: minus the cost in units of the dearest one; None without costs.

    A table's own cost is shared by its features.
    """
    names = [prepared.schema.names[index] for index in open_fields]
    column_of = {column.name: column for column in prepared.columns}
    members = Counter(column_of[name].group for name in names)
    shares = {group: prepared.table_costs.get(group or "", 0.0) / count for group, count in members.items()}
    costs = torch.tensor([column_of[name].cost + shares[column_of[name].group] for name in names])
    return -costs / costs.max() if bool((costs > 0).any()) else None


def _mask(order: list[int], k: int) -> np.ndarray:
    mask = np.zeros(len(order), dtype=bool)
    mask[np.asarray(order)[:k]] = True
    return mask


def _read_trial(folder: Path, number: int) -> dict[str, Any]:
    return dict(json.loads((folder / f"trial_{number}.json").read_text(encoding="utf-8")))


def _restore(folder: StageFolder, prepared: Prepared) -> Selection:
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
