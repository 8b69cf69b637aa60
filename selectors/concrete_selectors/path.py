"""The model face: from a trained model to a kept set for every K, in one run.

1. *Concrete phase.* A selector with ``k_max`` slots stands at the entrance of a copy of the trained model and is
   trained together with it; a maximum-weight assignment then names ``k_max`` distinct candidates.
2. *Elimination.* The network is fine-tuned briefly on random subsets of the candidates; the candidate whose removal
   costs least goes, again and again, down to ``k_min``.
3. *Curve.* One last fine-tuning on the nested sets of the path makes a single network fit for every K; its validation
   loss at a grid of K is the curve from which K can be chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.concrete import ConcreteSelector
from concrete_selectors.contract import Batches, EmbeddingModel, Loss
from concrete_selectors.elimination import eliminate
from concrete_selectors.result import SelectionPath
from concrete_selectors.run import Diagnosis, Run, stages
from concrete_selectors.settings import PathSettings
from concrete_selectors.training import finetune, train_concrete
from concrete_selectors.units import Units

#: Convergence: mean over slots of the largest probability, and the share of slots that may repeat an argmax.
CONVERGED_PROBABILITY = 0.99
CONVERGED_DUPLICATES = 0.1
#: Share of the fine-tuning spent while the set shrinks; the rest fits one network to all sizes at the end.
_SHRINK_SHARE = 0.6


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
        should_stop: called after each stage of elimination with its number and the validation loss; True ends it.

    Raises:
        ValueError: K, protected features, groups or prior do not fit the model, or training diverges.
        SelectionStopped: ``should_stop`` returned True.
    """
    run = Run(
        model,
        train,
        validation,
        loss=loss,
        steps_per_epoch=steps_per_epoch,
        settings=settings,
        protected=protected,
        groups=groups,
        progress=progress,
        should_stop=should_stop,
    )
    selector = _train_selector(run, prior)
    scores = _scores(run.units, selector)
    order, grid = _eliminate(run, selector, scores)
    run.fit_nested(order, steps=run.steps((1 - _SHRINK_SHARE) * settings.finetune_epochs))
    return run.path(order, _diagnose(run, selector, scores), grid=grid)


def _train_selector(run: Run, prior: Tensor | None) -> ConcreteSelector | None:
    """Phase 1; None where every slot is taken by an always-kept unit."""
    slots = run.k_max - int(run.units.protected.sum())
    if slots == 0:
        return None
    selector = ConcreteSelector(
        run.units.n_units,
        slots,
        kind=run.settings.selector,
        rank=run.settings.rank,
        prior=None if prior is None else run.units.mean_features(prior, name="prior"),
        blocked=torch.as_tensor(run.units.protected),
        generator=torch.Generator().manual_seed(run.settings.seed),
    ).to(run.network.device)
    train_concrete(
        run.network,
        selector,
        run.stream,
        settings=run.settings,
        steps=run.steps(run.settings.epochs),
        generator=run.generator,
        report=lambda values: run.report("concrete", **values),
    )
    return selector


def _eliminate(run: Run, selector: ConcreteSelector | None, scores: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Phase 2: units best first, and the sizes at which stages ended."""
    chosen = np.empty(0, dtype=np.int64) if selector is None else selector.assignment()
    alive = np.union1d(np.flatnonzero(run.units.protected), chosen)
    by_score = np.argsort(-scores, kind="stable")
    rest = by_score[~np.isin(by_score, alive)].tolist()
    sizes = stages(len(alive), run.k_min)
    budget = run.steps(_SHRINK_SHARE * run.settings.finetune_epochs)
    dropped: list[int] = []
    for number, size in enumerate(sizes):
        steps = budget * (number + 1) // len(sizes) - budget * number // len(sizes)
        finetune(run.network, run.stream, steps=steps, draw=_random_subsets(run, alive, size))
        with run.judge(fold=0) as judge:
            alive, gone = eliminate(judge, alive, down_to=size, exact_below=run.settings.exact_below)
        dropped += gone
        run.report("eliminate", step=number + 1, steps=len(sizes), k=len(alive))
        run.ask_to_stop(number + 1, alive)
    survivors = sorted(alive.tolist(), key=lambda unit: (not run.units.protected[unit], -scores[unit], unit))
    return np.array(survivors + dropped[::-1] + rest, dtype=np.int64), [run.k_max, *sizes]


def _random_subsets(run: Run, alive: np.ndarray, smallest: int) -> Callable[[], Tensor]:
    """Half of the masks open all units alive; the others a random subset of ``smallest`` to all of them."""
    protected = alive[run.units.protected[alive]]
    free = alive[~run.units.protected[alive]]

    def draw() -> Tensor:
        masks = np.zeros((run.settings.noise_masks, run.units.n_units), dtype=np.float32)
        masks[:, protected] = 1.0
        for number, row in enumerate(masks):
            size = len(alive) if number % 2 == 0 else int(run.random.integers(smallest, len(alive) + 1))
            row[run.random.permutation(free)[: max(size - len(protected), 0)]] = 1.0
        return torch.as_tensor(masks, device=run.network.device)

    return draw


def _scores(units: Units, selector: ConcreteSelector | None) -> np.ndarray:
    """Log of the expected number of slots that choose a unit, (U,); 0 for always-kept units."""
    if selector is None:
        return np.zeros(units.n_units)
    scores = torch.logsumexp(torch.log_softmax(selector.logits().detach().double(), dim=-1), dim=0).cpu().numpy()
    return np.where(units.protected, 0.0, scores)


def _diagnose(run: Run, selector: ConcreteSelector | None, scores: np.ndarray) -> Diagnosis:
    """State of the selector, and for every unit the first feature of the candidate that took its slot."""
    carrier = np.arange(run.units.n_units)
    first = np.array([run.units.features([unit])[0] for unit in range(run.units.n_units)], dtype=np.int64)
    if selector is None:
        return Diagnosis(scores, first)
    chosen = selector.assignment()
    carrier = chosen[selector.probabilities().argmax(dim=0).cpu().numpy()]
    own = np.union1d(chosen, np.flatnonzero(run.units.protected))
    carrier[own] = own
    certainty, duplicates = selector.mean_max_probability(), selector.n_duplicate_argmax()
    converged = certainty >= CONVERGED_PROBABILITY and duplicates <= CONVERGED_DUPLICATES * selector.n_slots
    return Diagnosis(scores, first[carrier], converged, duplicates, certainty)
