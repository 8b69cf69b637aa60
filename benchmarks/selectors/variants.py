"""The full method with one part taken away at a time, built from the library's public parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from arena.case import Case
from arena.net import expectations, loss_of
from arena.runner import Chosen, Method
from concrete_selectors import PathSettings, Teacher, learn_path

#: A logit that softmax never chooses.
_CLOSED = -1e4
_NO_PRIOR = {"prior_strength": 0.0}
_SLOTS_ALONE = {"screen": 0.0}


def full(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
    """Everything: one concrete training from the trained net, then elimination."""
    return _path(case, case.settings(seed=seed, **changes)).subset


def fresh_net(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
    """The concrete training starts from an untrained net, which knows nothing that a prior could be made of."""
    settings = case.settings(seed=seed, **{**changes, **_NO_PRIOR})
    return _path(case, settings, model=case.fresh_net(seed)).subset


def order_of_scores(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
    """No elimination: the assigned candidates of one concrete training, best concrete score first."""
    settings = case.settings(seed=seed, **changes)
    return _path(case, case.settings(seed=seed, **{**changes, **_SLOTS_ALONE, "k_min": settings.k_max})).subset


def training_per_k(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
    """No elimination: a concrete training with exactly K slots for every K, and its assignment."""
    found: dict[int, np.ndarray] = {}
    for k in case.ks:
        settings = case.settings(seed=seed, **{"k_max": k, "k_min": k, **_SLOTS_ALONE, **changes})
        found[k] = _path(case, settings).subset(k)
    return lambda k: found[k]


def labels_alone(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
    """The surrogate learns from labels and is judged by them; the trained net is not asked."""
    return _path(case, case.settings(seed=seed, **changes), expect=None).subset


def screen(ranker: str) -> Method:
    """No concrete training: elimination among the fields that a ranker of the trained net puts first.

    A prior closes all others, and the concrete phase lasts a single step, so that its slots must take the screened
    fields; what follows is the library's own.
    """

    def method(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
        settings = case.settings(seed=seed, **changes)
        screened = case.select(ranker, case.settings(seed=seed, finetune_epochs=0.0))(settings.k_max)
        prior = torch.full((case.table.n_fields,), _CLOSED)
        prior[torch.as_tensor(screened)] = 0.0
        length = {"epochs": 0.5 / case.steps_per_epoch, "fewest_steps": 1}
        single = {**length, "nested": False, "speed": 1e-6, **_NO_PRIOR, **_SLOTS_ALONE}
        return _path(case, case.settings(seed=seed, **{**changes, **single}), prior=prior).subset

    return method


def as_published(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
    """From an untrained net, zeros through closed gates, one mask per batch, a training per K, its assignment."""
    found: dict[int, np.ndarray] = {}
    for k in case.ks:
        settings = case.settings(seed=seed, **{"k_max": k, "k_min": k, **changes, **_NO_PRIOR, **_SLOTS_ALONE})
        found[k] = _path(case, settings, model=case.fresh_net(seed)).subset(k)
    return lambda k: found[k]


def _path(case: Case, settings: PathSettings, **others: Any) -> Any:
    train, validation = case.loaders()
    model = others.pop("model", case.model)
    return learn_path(
        model, train, validation, loss=loss_of(case.table), steps_per_epoch=case.steps_per_epoch,
        settings=settings, **{"expect": Teacher(model, expectations), **others},
    )  # fmt: skip


def _with(method: Method, **fixed: Any) -> Method:
    return lambda case, seed, changes: method(case, seed, {**changes, **fixed})


FULL = "full method"
#: Name in the table -> method.
VARIANTS: dict[str, Method] = {
    FULL: full,
    "zero instead of mean replacement": _with(full, mean_replacement=False),
    "no nested slots": _with(full, nested=False),
    "one noise mask per batch": _with(full, noise_masks=1),
    "no prior": _with(full, **_NO_PRIOR),
    "no surgeon's candidates": _with(full, **_SLOTS_ALONE),
    "labels alone": labels_alone,
    "no warm start": fresh_net,
    "no elimination: order of scores": order_of_scores,
    "no elimination: one training per K": training_per_k,
    "no concrete training: gradient screen": screen("gradient"),
    "no concrete training: surgeon's screen": screen("surgeon"),
    "none of them": _with(as_published, mean_replacement=False, nested=False, noise_masks=1),
}
