"""From a trained model to a kept set for every K, in one run.

1. *Concrete gates.* A selector with ``k_max`` slots gates the embeddings of a copy of the trained model and is trained
   together with it, from its weights. A maximum-weight assignment then names ``k_max`` distinct candidates.
2. *Surrogate.* One small network on the candidates' cached embeddings, trained on labels and predictions of the model,
   estimates the cost of removals in place of the model.
3. *Backward elimination.* The candidate whose removal increases the held-out loss least is removed, repeatedly, down to
   ``k_min``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.context import Progress, SelectionContext
from concrete_selectors.elimination.backward import BackwardElimination, stages
from concrete_selectors.elimination.surrogate import cache_rows, most_rows
from concrete_selectors.gates.concrete import ConcreteSelector, gate_compute
from concrete_selectors.gates.training import train_concrete
from concrete_selectors.selection_path import SelectionPath
from concrete_selectors.settings import PathSettings
from concrete_selectors.task import SelectionTask

#: Convergence: mean over slots of the largest probability, and the share of slots that may repeat an argmax.
CONVERGED_PROBABILITY = 0.99
CONVERGED_DUPLICATES = 0.1


class SelectionStopped(Exception):
    """``should_stop`` returned True; only the cost of the selection so far is available.

    Attributes:
        row_passes, gate_compute, surrogate_compute: as in ``concrete_selectors.SelectionPath``.
    """

    def __init__(self, message: str, row_passes: dict[str, int], gate_compute: float) -> None:
        super().__init__(message)
        self.row_passes, self.gate_compute, self.surrogate_compute = row_passes, gate_compute, 0.0


def fit_path(
    task: SelectionTask,
    settings: PathSettings,
    *,
    progress: Progress | None = None,
    should_stop: Callable[[int, float], bool] | None = None,
) -> SelectionPath:
    """Find the features that a trained model needs, for every K from ``k_max`` down to ``k_min``.

    Args:
        task: model, rows and constraints.
        settings: sizes, temperatures, rates.
        progress: called with a dict that contains at least ``phase``, ``step`` and ``steps``.
        should_stop: called once, after the concrete phase, with 1 and the validation loss with the candidates; True
            stops the selection. It costs one pass over the judged rows; None costs nothing.

    Raises:
        ValueError: K, constraints or prior do not fit the model, or training diverges.
        SelectionStopped: ``should_stop`` returned True.
    """
    context = SelectionContext(task, settings, progress)
    groups = context.groups
    prior = None if task.prior is None else groups.mean_features(task.prior, name="prior")
    selector = _train_selector(context, prior)
    gates = 0.0 if selector is None else _gate_compute(context, selector)
    candidates = np.flatnonzero(groups.protected)
    if selector is not None:
        candidates = np.union1d(candidates, selector.assignment())
    if should_stop is not None:
        loss = context.held_out().mean_loss(candidates)
        if should_stop(1, loss):
            message = f"stopped with {len(candidates)} features open at validation loss {loss:.5f}"
            raise SelectionStopped(message, context.row_passes, gates)
    scores = _scores(context, selector)
    elimination = _eliminate(context, candidates, prior) if context.k_min < len(candidates) else None
    order = _order(context, candidates, scores, elimination)
    return SelectionPath(
        ranking=groups.features(order),
        scores=scores[groups.of_feature],
        heldout_loss={} if elimination is None else elimination.heldout_loss,
        row_passes=context.row_passes,
        gate_compute=gates,
        surrogate_compute=0.0 if elimination is None else elimination.compute,
        _groups=groups,
        _order=order,
        **({} if selector is None else convergence(selector)),
    )


def _train_selector(context: SelectionContext, prior: Tensor | None) -> ConcreteSelector | None:
    """The concrete phase; None if always-kept groups fill every slot."""
    groups, settings = context.groups, context.settings
    slots = context.k_max - int(groups.protected.sum())
    if slots == 0:
        return None
    selector = ConcreteSelector(
        groups.n_groups,
        slots,
        kind=settings.selector,
        prior=prior,
        blocked=torch.as_tensor(groups.protected | groups.excluded),
        generator=torch.Generator().manual_seed(settings.seed),
    ).to(context.network.device)
    train_concrete(
        context.network,
        selector,
        context.stream,
        settings=settings,
        steps=context.training_steps,
        generator=context.generator,
        report=lambda values: context.report("concrete", **values),
    )
    return selector


def _gate_compute(context: SelectionContext, selector: ConcreteSelector) -> float:
    masks = context.settings.noise_masks
    each = gate_compute(selector.n_units, selector.n_slots, kind=selector.kind, n_masks=masks)
    return context.training_steps * each


def convergence(selector: ConcreteSelector) -> dict[str, Any]:
    """``converged`` and the two statistics behind it, as in ``SelectionPath``."""
    certainty, duplicates = selector.mean_max_probability(), selector.n_duplicate_argmax()
    converged = certainty >= CONVERGED_PROBABILITY and duplicates <= CONVERGED_DUPLICATES * selector.n_slots
    return {"converged": converged, "n_duplicate_argmax": duplicates, "mean_max_probability": certainty}


def _eliminate(context: SelectionContext, candidates: np.ndarray, prior: Tensor | None) -> BackwardElimination:
    """The whole elimination, on as many rows as the settings and memory allow."""
    settings, groups = context.settings, context.groups
    context.refresh_means()
    most = most_rows(context.network, candidates)
    train = cache_rows(context.train_rows(min(settings.cached_rows, most)), candidates)
    held_out = cache_rows(context.held_out(min(settings.judged_rows, most)), candidates, like=train)
    elimination = BackwardElimination(
        train,
        held_out,
        fixed=groups.protected[candidates],
        loss=context.task.loss,
        seed=settings.seed,
        distillation=settings.distillation,
        prior=None if prior is None else prior.numpy()[candidates],
    )
    sizes = list(stages(len(candidates), context.k_min))
    for number, size in enumerate(sizes):
        elimination.shrink(size)
        context.report("eliminate", step=number + 1, steps=len(sizes), k=len(elimination.left))
    return elimination


def _order(
    context: SelectionContext, candidates: np.ndarray, scores: np.ndarray, elimination: BackwardElimination | None
) -> np.ndarray:
    """Groups, best first: survivors by score, eliminated candidates from last to first, the rest by score."""
    survivors, dropped = candidates, candidates[:0]
    if elimination is not None:
        survivors, dropped = candidates[elimination.left], candidates[elimination.dropped[::-1]]
    ranked = context.groups.ranked(scores)
    return np.concatenate([ranked[np.isin(ranked, survivors)], dropped, ranked[~np.isin(ranked, candidates)]])


def _scores(context: SelectionContext, selector: ConcreteSelector | None) -> np.ndarray:
    """Log of the expected number of slots that choose a group, (G,); 0 for always-kept, -inf for excluded groups."""
    groups = context.groups
    scores = np.zeros(groups.n_groups) if selector is None else selector.scores()
    return np.where(groups.protected, 0.0, np.where(groups.excluded, -np.inf, scores))
