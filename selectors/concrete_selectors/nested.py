"""One network for every K: a copy of the trained model, fine-tuned on nested prefixes of a ranking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.context import Progress, SelectionContext
from concrete_selectors.elimination.backward import stages
from concrete_selectors.gates.training import GatedNetwork
from concrete_selectors.settings import PathSettings
from concrete_selectors.task import SelectionTask

#: The curve contains every K up to this one if k_max is below its square; otherwise only the stages' sizes.
_DENSE = 8


def curve_sizes(k_max: int, k_min: int) -> tuple[int, ...]:
    """K of a curve, ascending: the sizes after each stage of an elimination and, for k_max below 64, K up to 8."""
    dense = range(k_min, min(_DENSE, k_max) + 1) if k_max < _DENSE**2 else ()
    return tuple(sorted({k_max, *stages(k_max, k_min), *dense}))


@dataclass(frozen=True)
class NestedModel:
    """A network that predicts from any of the prefixes it was fine-tuned on.

    Attributes:
        ks: the K it was fine-tuned on, ascending; with groups, K counts groups.
        row_passes: rows sent through the network, ``forward_backward`` and ``forward`` only.
    """

    ks: tuple[int, ...]
    row_passes: dict[str, int]
    _network: GatedNetwork
    _order: np.ndarray

    def subset(self, k: int) -> np.ndarray:
        """The features of the first ``k`` groups of the ranking, sorted.

        Raises:
            ValueError: k is below the number of always-kept groups (at least 1), or above the number of usable ones.
        """
        return self._network.groups.prefix(self._order, k)

    def predict(self, batches: Iterable[tuple[Any, Tensor]], k: int) -> Tensor:
        """Logits of the network with only ``subset(k)`` open, for all rows in order, on the CPU.

        Args:
            batches: ``(batch, target)`` pairs; targets are ignored.
            k: size of the subset.
        """
        return self.predict_each(batches, (k,))[0]

    def predict_each(self, batches: Iterable[tuple[Any, Tensor]], ks: Sequence[int]) -> list[Tensor]:
        """``predict`` for several sizes; every batch is loaded and embedded once."""
        network, means = self._network, self._network.field_means()
        gates = torch.zeros(len(ks), network.groups.n_features, device=means.device)
        for open_gates, k in zip(gates, ks, strict=True):
            open_gates[torch.as_tensor(self.subset(k), device=means.device)] = 1.0
        logits: list[list[Tensor]] = [[] for _ in ks]
        network.module.eval()
        with torch.no_grad():
            for batch, _ in batches:
                embedded = network.embed(batch)
                for parts, open_gates in zip(logits, gates, strict=True):
                    parts.append(network.gated(embedded, open_gates, means).cpu())
        return [torch.cat(parts) for parts in logits]


def fit_nested(
    task: SelectionTask,
    ranking: np.ndarray,
    ks: Sequence[int],
    settings: PathSettings,
    *,
    progress: Progress | None = None,
) -> NestedModel:
    """Fine-tune one copy of the trained model for all K; every row sees a prefix of the ranking, K drawn from ``ks``.

    The trained model acts as teacher, which keeps the copy from overfitting the labels.

    Args:
        task: model, rows and constraints; its prior is ignored.
        ranking: (N,) features, best first; a group has the position of its first feature.
        ks: sizes of prefixes; with groups, numbers of groups.
        settings: rates and length of the fine-tuning; ``k_max`` and ``k_min`` are ignored.
        progress: called at every step.

    Raises:
        ValueError: the ranking does not contain every feature exactly once, or a K has no prefix.
    """
    context = SelectionContext(task, settings, progress)
    network, device = context.network, context.network.device
    order = context.groups.order_of(np.asarray(ranking))
    if not len(ks):
        raise ValueError("ks: empty; give at least one size")
    for k in ks:
        context.groups.prefix(order, k)
    sizes = torch.as_tensor(sorted(set(ks)), device=device)
    place = torch.as_tensor(np.argsort(order), device=device)
    steps = context.finetuning_steps
    network.module.train()
    for step, (batch, target) in enumerate(islice(context.stream, steps)):
        drawn = torch.randint(len(sizes), (len(target), 1), generator=context.generator, device=device)
        gates = (place < sizes[drawn]).float()
        loss = network.gated_loss(batch, target, gates, distillation=settings.distillation)
        value = network.step(loss)
        context.report("finetune", step=step + 1, steps=steps, loss=value)
    network.optimizer.zero_grad(set_to_none=True)
    context.refresh_means()
    return NestedModel(tuple(sizes.tolist()), context.row_passes, network, order)
