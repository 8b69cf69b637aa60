"""One trial of the search: one concrete training, the quality curve over every K that comes from it, and its value."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from concrete_selectors import PathSettings, SelectionPath, SelectionStopped, learn_path
from torch import Tensor

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.errors import AuditError
from feature_audit.fitting.compute import FORWARD_SHARE, touched_parameters
from feature_audit.fitting.process import tune_process
from feature_audit.fitting.trained import Trained, load_model, open_store
from feature_audit.models import OpenFields, Pace, row_loss, to_scores
from feature_audit.schema import ModelSchema
from feature_audit.search import TrialResult
from feature_audit.stages.choice import still_rising
from feature_audit.stages.expectations import KnownExpectations
from feature_audit.stages.judge import ValidationJudge
from feature_audit.stages.load import protected_fields, ruled_out_fields, unit_ids

log = logging.getLogger(__name__)

#: Rows of a validation batch.
_EVALUATION_ROWS = 4096
#: Rows of a selection's train batch at least.
_SMALLEST_BATCH = 32
#: Train batches from which the means of features that always_drop shuts are taken.
_MEAN_BATCHES = 8


def searches(config: AuditConfig) -> bool:
    """False for a peer, which has no settings to search."""
    return config.selector in ("ip_cae", "cae")


class Trials:
    """The study's objective: one concrete training, one curve.

    Each call leaves ``trial_<number>.json`` in the stage's folder: ``order`` (features best first), ``scores``,
    ``points`` (the masked curve) and ``convergence``.

    Args:
        config, prepared, full: of the audit.
        low, high: range of K.
        folder: of the stage.
        progress: called with every step of a concrete training, or None.
    """

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
        self.store = store = open_store(config, prepared)
        self.config, self.prepared, self.schema, self.folder = config, prepared, prepared.schema, folder
        self.low, self.high, self.progress = low, high, progress
        self.device = store.device
        self.model: Any = load_model(config, full).to(self.device)  # of the model contract: embed, predict
        self.batch_size = selection_batch(config, store.rows("train"), prepared.schema)
        self.batches = math.ceil(store.rows("train") / self.batch_size)
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
        # Behind shut fields the model expects something else than the full one, whose scores are known.
        known = None if self.ruled_out else self.judge.full
        self.expect = KnownExpectations(self.model, store, self.schema, known)  # paid by the first trial that asks
        self.prior = _cost_prior(prepared, self.open)

    def __call__(
        self, number: int, settings: dict[str, float], should_stop: Callable[[int, float], bool]
    ) -> TrialResult:
        """One trial; see ``search.run_study``.

        Raises:
            TrialPruned: the curve falls behind those of earlier trials.
            AuditError: no set of whole groups fits the budget.
        """
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.config.seed + int(settings["draw"]))  # of the network's dropout
            path = self.learn(number, settings, lambda step, loss: should_stop(step, -loss))
        points, measured = [], 0
        for units in path.ks:  # with whole groups the path counts groups; the audit counts features
            k = len(path.subset(units))
            if self.low <= k <= self.high:
                scores = to_scores(path.predict(self._validation(0), units), self.schema.task).numpy()
                measured += len(scores)
                points.append(asdict(self.judge.point(k, scores)))
        if not points:
            smallest = len(path.subset(min(path.ks)))
            raise AuditError(
                f"k={self.config.k}: no set of whole groups holds {self.low} to {self.high} features (the best single "
                f"one has {smallest}); raise k or take a group out of whole_groups"
            )
        spent = self._work(path) + FORWARD_SHARE * measured * self.touched
        score_of = np.full(len(self.schema.fields), -np.inf)
        score_of[self.open] = path.scores
        content = {
            "order": [*self.open[path.ranking].tolist(), *self.ruled_out],
            "scores": [float(value) if math.isfinite(value) else None for value in score_of],
            "points": points,
            "convergence": describe_convergence(path),
        }
        (self.folder / f"trial_{number}.json").write_text(json.dumps(content), encoding="utf-8")
        notes = {
            "work": spent,
            "elimination": path.solver_work,
            "threads": torch.get_num_threads(),  # seconds mean little without the threads
        }
        value = curve_value(points, self.low, self.high)
        return TrialResult(value, notes, more_slots=still_rising(self.config, self.prepared, points))

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
            measure_curve=False,  # the audit measures it by its own metric
        )
        common: dict[str, Any] = {
            "loss": row_loss(self.schema.task),
            "steps_per_epoch": self.batches,
            "settings": chosen,
            "protected": self.protected,
            "groups": self.units,
        }
        if not searches(self.config):
            from concrete_selectors import rank_with

            return rank_with(
                self.config.selector, self.model, self._train, self._validation, matrix=self._matrix, **common
            )
        try:
            return learn_path(
                self.model, self._train, self._validation, prior=self.prior, should_stop=should_stop,
                progress=self.progress, expect=self.expect, **common,
            )  # fmt: skip
        except SelectionStopped as stopped:
            log.info("select: trial %d %s", number, stopped)
            pruned = optuna.TrialPruned()
            pruned.notes = {"work": self._work(stopped)}  # type: ignore[attr-defined]  # read by search.study
            raise pruned from stopped

    def _work(self, spent: SelectionPath | SelectionStopped) -> float:
        """Work of a selection, whole or stopped (see ``stages.cost``)."""
        passes = spent.row_passes
        rows = passes["forward_backward"] + FORWARD_SHARE * passes["forward"]
        return rows * self.touched + spent.solver_work

    def _train(self, epoch: int) -> Iterator[tuple[Any, Tensor]]:
        seed = self.config.seed * 7919 + epoch + 1
        for batch in self.store.batches("train", self.batch_size, seed=seed, schema=self.schema):
            yield batch, batch.target

    def _validation(self, _: int) -> Iterator[tuple[Any, Tensor]]:
        for batch in self.store.batches("validation", _EVALUATION_ROWS, schema=self.schema):
            yield batch, batch.target

    def _matrix(self) -> tuple[np.ndarray, np.ndarray]:
        return self.store.matrix("train", self.schema)[:, self.open], self.store.target("train")


def selection_batch(config: AuditConfig, rows: int, schema: ModelSchema) -> int:
    """Rows of a batch of a concrete training: those of the full model's training, or fewer where rows are few.

    A selector needs a number of steps, however few the rows. Batches as large as the full model's would pass over a
    table more often for that than ``selection.epochs`` says, and cost a small table as much as its full training.
    """
    wanted = rows * config.selection.epochs / PathSettings.fewest_steps
    fewest = max(_SMALLEST_BATCH, 2 ** round(math.log2(max(wanted, 1))))
    return min(Pace.plan(rows, config.training, schema).batch_size, fewest)


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
