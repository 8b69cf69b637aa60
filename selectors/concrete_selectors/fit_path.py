"""The model face: from a trained model to a kept set for every K, in one run.

1. *Concrete phase.* A selector with ``k_max`` slots stands at the entrance of a copy of the trained model and is
   trained together with it, both from a warm start: the network from its weights, the selector from a second-order
   expansion of that network in its gates (:mod:`concrete_selectors.saliency.brain_surgeon`). A maximum-weight
   assignment then names ``k_max`` distinct candidates; those that the expansion alone would keep join them.
2. *Elimination.* The candidate whose removal costs the least held-out loss goes, again and again, down to ``k_min``. A
   surrogate, a small network on the candidates' embeddings, is asked instead of the model. Where the model can be asked
   what it expects of a row, the surrogate learns from that as well as from labels, and removals are judged by both.
3. *Curve.* One last fine-tuning on the nested sets of the path makes a single network fit for every K; its validation
   loss at a grid of K is the curve from which K can be chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.context import MEAN_BATCHES, Diagnosis, Run
from concrete_selectors.elimination.backward import BackwardElimination, stages
from concrete_selectors.elimination.surrogate import cache_rows
from concrete_selectors.gates.concrete import ConcreteSelector
from concrete_selectors.gates.feature_groups import FeatureGroups
from concrete_selectors.gates.training import train_concrete
from concrete_selectors.protocols import Batches, EmbeddingModel, Loss, TeacherProtocol
from concrete_selectors.saliency.screen import logit_prior, surgeon_order
from concrete_selectors.selection_path import SelectionPath
from concrete_selectors.settings import PathSettings

#: Convergence: mean over slots of the largest probability, and the share of slots that may repeat an argmax.
CONVERGED_PROBABILITY = 0.99
CONVERGED_DUPLICATES = 0.1
#: Most memory for cached embeddings.
_CACHE_BYTES = 512 * 2**20


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
    expect: TeacherProtocol | None = None,
) -> SelectionPath:
    """Learns which features carry a trained model, for every K from ``k_max`` down to ``k_min``.

    Args:
        model: trained torch module of the contract; a deep copy is trained, the model itself is left as it is.
        train: train batches per epoch number.
        validation: validation batches; removals are judged, and the curve is measured, on these rows.
        loss: per-row loss of the task.
        steps_per_epoch: batches of one train epoch.
        settings: sizes, temperatures, rates.
        protected: features that are always kept.
        groups: group id per feature; a group is kept or dropped as one, and K counts groups. None = no groups.
        prior: (N,) added to the logits: relevance, or a negative cost; a group takes its mean. The elimination adds
            it, too, in medians of what single units are good for. None = none.
        progress: called with a dict that holds ``phase``, ``step`` and ``steps`` at least.
        should_stop: called with 1 after the concrete phase and 2 after fine-tuning, and the validation loss of the
            candidates; True ends the selection.
        expect: what the model expects of rows, as targets of the loss (probabilities, values); most often
            :class:`concrete_selectors.Teacher`. None = the elimination has nothing but labels.

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
        expect=expect,
    )
    offset = None if prior is None else run.units.mean_features(prior, name="prior")
    screened = _screen(run)
    selector = _train_selector(run, offset, screened)
    scores = _scores(run.units, selector)
    candidates = _candidates(run, selector, screened)
    order, grid = _eliminate(run, candidates, scores, offset)
    run.fit_nested(order, steps=run.finetuning_steps)
    run.ask_to_stop(2, order[: run.k_max])
    return run.path(order, _diagnose(run, selector, scores, candidates), grid=grid)


def _screen(run: Run) -> np.ndarray:
    """Groups as the surgeon would keep them, best first; empty where neither the prior nor the elimination asks."""
    settings = run.settings
    if not settings.prior_strength and not settings.screen:
        return np.empty(0, dtype=np.int64)
    return surgeon_order(run, at_least=math.ceil(max(2.0, settings.screen) * run.k_max))


def _train_selector(run: Run, offset: Tensor | None, screened: np.ndarray) -> ConcreteSelector | None:
    """Phase 1; None where every slot is taken by an always-kept unit."""
    slots = run.k_max - int(run.units.protected.sum())
    if slots == 0:
        return None
    if run.settings.prior_strength:
        saliency = logit_prior(run, screened)
        offset = saliency if offset is None else offset + saliency
    selector = ConcreteSelector(
        run.units.n_units,
        slots,
        kind=run.settings.selector,
        rank=run.settings.rank,
        prior=offset,
        blocked=torch.as_tensor(run.units.protected),
        generator=torch.Generator().manual_seed(run.settings.seed),
    ).to(run.network.device)
    train_concrete(
        run.network,
        selector,
        run.stream,
        settings=run.settings,
        steps=run.training_steps,
        generator=run.generator,
        report=lambda values: run.report("concrete", **values),
    )
    return selector


def _candidates(run: Run, selector: ConcreteSelector | None, screened: np.ndarray) -> np.ndarray:
    """What elimination starts from, sorted: always-kept units, one per slot, and those that the surgeon would keep."""
    most = int(run.settings.screen * run.k_max)
    alive = np.union1d(np.flatnonzero(run.units.protected), screened[:most])
    return alive if selector is None else np.union1d(alive, selector.assignment())


def _eliminate(run: Run, alive: np.ndarray, scores: np.ndarray, offset: Tensor | None) -> tuple[np.ndarray, list[int]]:
    """Phase 2: units best first, and the sizes at which stages ended."""
    by_score = np.argsort(-scores, kind="stable")
    rest = by_score[~np.isin(by_score, alive)]
    run.ask_to_stop(1, alive)
    sizes = list(stages(len(alive), run.k_min))
    if not sizes:
        return np.concatenate([_best_first(run, alive, scores), rest]), [run.k_max]
    elimination = _elimination(run, alive, None if offset is None else offset.numpy()[alive])
    dropped: list[int] = []
    for number, size in enumerate(sizes):
        dropped += elimination.shrink(size)
        run.report("eliminate", step=number + 1, steps=len(sizes), k=len(elimination.left))
    run.solver_work += elimination.work
    survivors = _best_first(run, alive[elimination.left], scores)
    return np.concatenate([survivors, alive[dropped[::-1]], rest]), [run.k_max, *sizes]


def _elimination(run: Run, alive: np.ndarray, prior: np.ndarray | None) -> BackwardElimination:
    """A surrogate on the embeddings of the units alive: as many rows as the settings and memory allow."""
    settings = run.settings
    widest = max(len(run.units.features([unit])) for unit in alive)  # narrower units are padded
    n_inputs = len(alive) * widest * run.network.field_means().shape[1]
    most_rows = max(1, _CACHE_BYTES // (4 * n_inputs))
    run.network.means.refresh(run.network.module, islice(run.train(0), MEAN_BATCHES))
    with run.judge(train_rows=min(settings.cached_rows, most_rows)) as judge:
        train = cache_rows(judge, alive)
    with run.held_out_judge(min(settings.judged_rows, most_rows)) as judge:
        held_out = cache_rows(judge, alive, like=train)
    return BackwardElimination(
        train,
        held_out,
        fixed=run.units.protected[alive],
        loss=run.network.loss,
        n_masks=settings.noise_masks,
        seed=settings.seed,
        distillation=settings.trust,
        prior=prior,
    )


def _best_first(run: Run, units: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Always-kept units first, then by score."""
    return units[np.lexsort((units, -scores[units], ~run.units.protected[units]))]


def _scores(units: FeatureGroups, selector: ConcreteSelector | None) -> np.ndarray:
    """Log of the expected number of slots that choose a unit, (U,); 0 for always-kept units."""
    if selector is None:
        return np.zeros(units.n_units)
    scores = torch.logsumexp(torch.log_softmax(selector.logits().detach().double(), dim=-1), dim=0).cpu().numpy()
    return np.where(units.protected, 0.0, scores)


def _diagnose(run: Run, selector: ConcreteSelector | None, scores: np.ndarray, candidates: np.ndarray) -> Diagnosis:
    """State of the selector, and for every unit the first feature of the candidate that took its slot."""
    first = np.array([run.units.features([unit])[0] for unit in range(run.units.n_units)], dtype=np.int64)
    if selector is None:
        return Diagnosis(scores, first)
    chosen = selector.assignment()
    carrier = chosen[selector.probabilities().argmax(dim=0).cpu().numpy()]
    carrier[candidates] = candidates
    certainty, duplicates = selector.mean_max_probability(), selector.n_duplicate_argmax()
    converged = certainty >= CONVERGED_PROBABILITY and duplicates <= CONVERGED_DUPLICATES * selector.n_slots
    return Diagnosis(scores, first[carrier], converged, duplicates, certainty)
