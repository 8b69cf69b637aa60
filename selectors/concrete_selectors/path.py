"""The model face: from a trained model to a kept set for every K, in one run.

1. *Concrete phase.* A selector with ``k_max`` slots stands at the entrance of a copy of the trained model and is
   trained together with it; a maximum-weight assignment then names ``k_max`` distinct candidates.
2. *Elimination.* The network is fine-tuned briefly on random subsets of the candidates; the candidate whose removal
   costs least goes, again and again, down to ``k_min``.
3. *Curve.* One last fine-tuning on the nested sets of the path makes a single network fit for every K; its validation
   loss at a grid of K is the curve from which K can be chosen.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from concrete_selectors.concrete import ConcreteSelector
from concrete_selectors.contract import Batches, EmbeddingModel, Loss
from concrete_selectors.elimination import Judge, collect, eliminate
from concrete_selectors.gating import FieldMeans, apply_gates, device_of
from concrete_selectors.settings import PathSettings
from concrete_selectors.training import GatedNetwork, Stream, finetune, network_optimizer, train_concrete
from concrete_selectors.units import Units

#: Convergence: mean over slots of the largest probability, and the share of slots that may repeat an argmax.
CONVERGED_PROBABILITY = 0.99
CONVERGED_DUPLICATES = 0.1
#: Each stage of fine-tuning and elimination leaves this share of the units.
_STAGE = 0.7
_MEAN_BATCHES = 8


class SelectionStopped(Exception):
    """``should_stop`` asked for an end; nothing of the path is returned."""


@dataclass(frozen=True, kw_only=True)
class SelectionPath:
    """Kept sets for every K from one selection.

    Features are numbered as the model embeds them, 0 to N - 1. With groups, K counts groups.

    Attributes:
        ranking: (N,) int64, best first: always-kept features and the survivors of elimination, then eliminated
            candidates from last to first, then the rest by concrete score.
        scores: (N,) float64, log of the expected number of slots that choose the feature; -inf where none may.
        ks: K at which the validation loss was measured, ascending.
        loss_at: K -> mean validation loss of the fine-tuned network behind ``subset(K)``.
        converged: did every slot make up its mind, hardly any two for the same feature?
        n_duplicate_argmax: slots whose first choice was also an earlier slot's.
        mean_max_probability: mean over slots of the largest probability.
        carried_by: (N,) int64, for each feature the candidate that shares its slot most, itself if a candidate.
        row_passes: rows sent through the network, ``forward_backward`` and ``forward`` only.
    """

    ranking: np.ndarray
    scores: np.ndarray
    ks: tuple[int, ...]
    loss_at: dict[int, float]
    converged: bool
    n_duplicate_argmax: int
    mean_max_probability: float
    carried_by: np.ndarray
    row_passes: dict[str, int]
    _order: np.ndarray
    _units: Units
    _module: Any
    _means: Tensor

    def subset(self, k: int) -> np.ndarray:
        """The ``k`` features to keep, sorted, always-kept ones inside.

        Raises:
            ValueError: k is below the number of always-kept features (at least 1), or above N.
        """
        lowest = max(1, int(self._units.protected.sum()))
        if not lowest <= k <= self._units.n_units:
            raise ValueError(f"k={k}: give {lowest} to {self._units.n_units}")
        return np.sort(self._units.features(self._order[:k]))

    def predict(self, batches: Iterable[tuple[Any, Tensor]], k: int) -> Tensor:
        """Logits of the fine-tuned network that sees only ``subset(k)``, all rows in order, on the CPU.

        Args:
            batches: ``(batch, target)`` pairs; targets are not read.
            k: size of the subset.
        """
        gates = torch.zeros(self._units.n_features, device=self._means.device)
        gates[torch.as_tensor(self.subset(k), device=gates.device)] = 1.0
        self._module.eval()
        with torch.no_grad():
            parts = [
                self._module.predict(apply_gates(self._module.embed(batch), gates, self._means)).cpu()
                for batch, _ in batches
            ]
        return torch.cat(parts)


def learn_path(
    model: EmbeddingModel,
    train: Batches,
    validation: Batches,
    *,
    loss: Loss,
    steps_per_epoch: int,
    settings: PathSettings,
    protected: Sequence[int] = (),
    groups: Sequence[int] | None = None,
    prior: Tensor | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    should_stop: Callable[[int, float], bool] | None = None,
) -> SelectionPath:
    """Learns which features carry a trained model, for every K from ``k_max`` down to ``k_min``.

    Args:
        model: trained torch module of the contract; a deep copy is trained, the model itself is left as it is.
        train: train batches per epoch number.
        validation: validation batches; even rows of each batch help to judge removals, odd rows measure the curve.
        loss: per-row loss of the task.
        steps_per_epoch: batches of one train epoch.
        settings: sizes, temperatures, rates.
        protected: features that are always kept.
        groups: group id per feature; a group is kept or dropped as one, and K counts groups. None = no groups.
        prior: (N,) added to the logits: relevance, or a negative cost; a group takes its mean. None = none.
        progress: called with a dict that holds ``phase``, ``step`` and ``steps`` at least.
        should_stop: called with a growing step and the validation loss at k_max units; True ends the selection.

    Raises:
        ValueError: K, protected features, groups or prior do not fit the model, or training diverges.
        SelectionStopped: ``should_stop`` returned True.
    """
    run = _Run(model, train, validation, loss, steps_per_epoch, settings, protected, groups, progress, should_stop)
    selector = run.concrete(prior)
    order, grid = run.eliminate(selector)
    run.fit_nested(order)
    return run.path(selector, order, grid)


class _Run:
    """State shared by the phases of one path."""

    def __init__(
        self,
        model: EmbeddingModel,
        train: Batches,
        validation: Batches,
        loss: Loss,
        steps_per_epoch: int,
        settings: PathSettings,
        protected: Sequence[int],
        groups: Sequence[int] | None,
        progress: Callable[[dict[str, Any]], None] | None,
        should_stop: Callable[[int, float], bool] | None,
    ) -> None:
        if steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch={steps_per_epoch}: an epoch has at least 1 batch")
        module: Any = copy.deepcopy(model)
        self.train, self.validation, self.settings = train, validation, settings
        self.steps_per_epoch = steps_per_epoch
        self.progress, self.should_stop = progress, should_stop
        means = FieldMeans(enabled=settings.mean_replacement)
        module.eval()
        self.forward_rows = self.backward_rows = 0
        means.refresh(module, islice(train(0), _MEAN_BATCHES))
        assert means.value is not None
        self.units = Units(len(means.value), groups=groups, protected=protected)
        device = device_of(module) if isinstance(module, nn.Module) else means.value.device
        self.network = GatedNetwork(
            module, loss, self.units, means, network_optimizer(module, settings.network_learning_rate), device
        )
        self.stream = Stream(train)
        self.k_max = min(settings.k_max, self.units.n_units)
        kept = int(self.units.protected.sum())
        if self.k_max < kept:
            raise ValueError(f"k_max={settings.k_max}: {kept} features are always kept; raise k_max to at least {kept}")
        self.generator = torch.Generator(device=device).manual_seed(settings.seed)
        self.random = np.random.default_rng(settings.seed)

    def steps(self, epochs: float) -> int:
        """Optimiser steps in so many epochs, at least one."""
        return max(1, round(epochs * self.steps_per_epoch))

    def report(self, phase: str, **values: Any) -> None:
        """Passes progress on."""
        if self.progress is not None:
            self.progress({"phase": phase, **values})

    def concrete(self, prior: Tensor | None) -> ConcreteSelector | None:
        """Phase 1; None where nothing is free to choose."""
        slots = self.k_max - int(self.units.protected.sum())
        if slots == 0:
            return None
        blocked = torch.as_tensor(self.units.protected)
        selector = ConcreteSelector(
            self.units.n_units,
            slots,
            kind=self.settings.selector,
            rank=self.settings.rank,
            prior=self._unit_prior(prior),
            blocked=blocked,
            generator=torch.Generator().manual_seed(self.settings.seed),
        ).to(self.network.device)
        train_concrete(
            self.network,
            selector,
            self.stream,
            settings=self.settings,
            steps=self.steps(self.settings.epochs),
            generator=self.generator,
            report=lambda values: self.report("concrete", **values),
        )
        return selector

    def _unit_prior(self, prior: Tensor | None) -> Tensor | None:
        if prior is None:
            return None
        if prior.shape != (self.units.n_features,):
            raise ValueError(
                f"prior: shape {tuple(prior.shape)} for {self.units.n_features} features; give one value each"
            )
        if not bool(torch.isfinite(prior).all()):
            raise ValueError("prior: holds NaN or inf; give a finite value per feature")
        index = torch.as_tensor(self.units.of_feature)
        total = torch.zeros(self.units.n_units).index_add_(0, index, prior.detach().float().cpu())
        return total / torch.bincount(index, minlength=self.units.n_units)

    def eliminate(self, selector: ConcreteSelector | None) -> tuple[np.ndarray, list[int]]:
        """Phase 2: units best first, and the K at which stages ended."""
        kept = np.flatnonzero(self.units.protected)
        chosen = selector.assignment() if selector is not None else np.empty(0, dtype=np.int64)
        alive = np.union1d(kept, chosen)
        scores = self._scores(selector)
        scores[alive] = -np.inf
        rest = [int(unit) for unit in np.argsort(-scores, kind="stable") if unit not in set(alive.tolist())]
        lowest = max(self.settings.k_min, len(kept), 1)
        targets = _stages(len(alive), lowest)
        budget = self.steps(self.settings.finetune_epochs) if self.settings.finetune_epochs else 0
        dropped: list[int] = []
        done = 0
        for number, target in enumerate(targets):
            until = round(budget * (number + 1) / len(targets) * 0.6)
            finetune(self.network, self.stream, steps=until - done, draw=self._subsets(alive, target))
            done = until
            judge = self._judge(0)
            alive, gone = eliminate(judge, alive, down_to=target, exact_below=self.settings.exact_below)
            self._count(judge)
            dropped += gone
            self.report("eliminate", step=number + 1, steps=len(targets), k=len(alive))
            self._ask_to_stop(number + 1, alive)
        survivors = sorted(alive.tolist(), key=lambda unit: (not self.units.protected[unit], unit))
        return np.array(survivors + dropped[::-1] + rest, dtype=np.int64), [self.k_max, *targets]

    def _ask_to_stop(self, step: int, alive: np.ndarray) -> None:
        if self.should_stop is None:
            return
        judge = self._judge(1)
        value = float(judge.losses(self.units.mask(alive, self.network.device).unsqueeze(0))[0])
        self._count(judge)
        if self.should_stop(step, value):
            raise SelectionStopped(f"stopped at {len(alive)} units, validation loss {value:.5f}")

    def _judge(self, fold: int) -> Judge:
        """Rows to judge on: fold 0 mixes train rows and even validation rows; fold 1 is odd validation rows."""
        rows = self.settings.eliminate_rows
        parts = collect(self.validation(0), rows=rows // 2 if fold == 0 else rows, fold=fold)
        if fold == 0 or not parts:
            parts = [*parts, *collect(self.train(self.settings.seed), rows=rows - sum(p.rows for p in parts))]
        return Judge(self.network, parts)

    def _count(self, judge: Judge) -> None:
        self.forward_rows += judge.forward_rows
        self.backward_rows += judge.backward_rows

    def _subsets(self, alive: np.ndarray, target: int) -> Callable[[], Tensor]:
        """Half of the masks: all units alive; the others: a random subset of target to all of them."""
        protected = alive[self.units.protected[alive]]
        free = alive[~self.units.protected[alive]]

        def draw() -> Tensor:
            masks = np.zeros((self.settings.noise_masks, self.units.n_units), dtype=np.float32)
            masks[:, protected] = 1.0
            for number, row in enumerate(masks):
                size = len(alive) if number % 2 == 0 else int(self.random.integers(target, len(alive) + 1))
                row[self.random.permutation(free)[: max(size - len(protected), 0)]] = 1.0
            return torch.as_tensor(masks, device=self.network.device)

        return draw

    def fit_nested(self, order: np.ndarray) -> None:
        """Phase 3: one network for all K."""
        if not self.settings.finetune_epochs:
            return
        lowest = max(self.settings.k_min, int(self.units.protected.sum()), 1)
        rank = torch.empty(len(order), device=self.network.device)
        rank[torch.as_tensor(order, device=rank.device)] = torch.arange(len(order), device=rank.device).float()

        def draw() -> Tensor:
            logs = self.random.uniform(math.log(lowest), math.log(self.k_max + 1), size=self.settings.noise_masks)
            sizes = torch.as_tensor(np.clip(np.exp(logs).astype(np.int64), lowest, self.k_max), device=rank.device)
            return (rank.unsqueeze(0) < sizes.unsqueeze(1)).float()

        finetune(self.network, self.stream, steps=self.steps(0.4 * self.settings.finetune_epochs), draw=draw)
        self.network.module.eval()
        self.network.means.refresh(self.network.module, islice(self.train(0), _MEAN_BATCHES))

    def _scores(self, selector: ConcreteSelector | None) -> np.ndarray:
        if selector is None:
            return np.full(self.units.n_units, -np.inf)
        scores = torch.logsumexp(torch.log_softmax(selector.logits().detach().double(), dim=-1), dim=0).cpu().numpy()
        scores[self.units.protected] = -np.inf
        return scores

    def path(self, selector: ConcreteSelector | None, order: np.ndarray, grid: list[int]) -> SelectionPath:
        """Measures the curve and puts everything together."""
        ks = tuple(sorted({*grid, *range(max(self.settings.k_min, 1), min(8, self.k_max) + 1)}))
        ks = tuple(k for k in ks if k >= max(1, int(self.units.protected.sum())))
        judge = self._judge(1)
        masks = torch.stack([self.units.mask(order[:k], self.network.device) for k in ks])
        losses = judge.losses(masks).tolist()
        self._count(judge)
        for parameter in self.network.module.parameters():
            parameter.grad = None
        duplicates = 0 if selector is None else selector.n_duplicate_argmax()
        certainty = 1.0 if selector is None else selector.mean_max_probability()
        allowed = CONVERGED_DUPLICATES * max(self.k_max, 1)
        assert self.network.means.value is not None
        return SelectionPath(
            ranking=self.units.features(order),
            scores=self._scores(selector)[self.units.of_feature],
            ks=ks,
            loss_at=dict(zip(ks, losses, strict=True)),
            converged=certainty >= CONVERGED_PROBABILITY and duplicates <= allowed,
            n_duplicate_argmax=duplicates,
            mean_max_probability=certainty,
            carried_by=self._carriers(selector),
            row_passes={
                "forward_backward": self.stream.rows + self.backward_rows,
                "forward": self.forward_rows,
            },
            _order=order,
            _units=self.units,
            _module=self.network.module,
            _means=self.network.means.value,
        )

    def _carriers(self, selector: ConcreteSelector | None) -> np.ndarray:
        """For each feature the first feature of the unit whose slot gives it the most probability."""
        first = np.array([self.units.features([unit])[0] for unit in range(self.units.n_units)], dtype=np.int64)
        if selector is None:
            return first[self.units.of_feature]
        slot = selector.probabilities().argmax(dim=0).cpu().numpy()
        unit = selector.assignment()[slot]
        chosen = np.union1d(selector.assignment(), np.flatnonzero(self.units.protected))
        unit[chosen] = chosen
        return first[unit][self.units.of_feature]


def _stages(k_max: int, k_min: int) -> list[int]:
    """Falling sizes at which fine-tuning is renewed; the last is ``k_min``."""
    stages: list[int] = []
    size = k_max
    while size > k_min:
        size = max(k_min, min(size - 1, int(size * _STAGE)))
        stages.append(size)
    return stages
