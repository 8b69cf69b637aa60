"""Variants of the full method, each without one part, built from public parts of the library."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from arena.case import Case
from arena.runner import Chosen, Method
from concrete_selectors import PathSettings, fit_path


def full(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
    """The full method: one concrete training from the trained net, then elimination."""
    return _path(case, case.settings(seed=seed, **changes)).subset


def fresh_net(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
    """The concrete training starts from an untrained net."""
    return _path(case, case.settings(seed=seed, **changes), model=case.fresh_net(seed)).subset


def order_of_scores(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
    """No elimination: the assigned candidates of one concrete training, best concrete score first."""
    settings = case.settings(seed=seed, **changes)
    return _path(case, replace(settings, k_min=settings.k_max)).subset


def training_per_k(case: Case, seed: int, changes: dict[str, Any], **task: Any) -> Chosen:
    """No elimination: a concrete training with exactly K slots for every K, and its assignment."""
    found = {k: _path(case, case.settings(seed=seed, **changes, k_max=k, k_min=k), **task).subset(k) for k in case.ks}
    return lambda k: found[k]


def labels_only(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
    """The surrogate is trained on labels and evaluated by them; the trained network is not used."""
    return _path(case, case.settings(seed=seed, **changes), teacher=None).subset


def gradient_screen(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
    """No concrete training: elimination among the fields with the largest gradients, as many as there are slots.

    All others are excluded, so that the slots, trained for one step, take the remaining fields.
    """
    settings = case.settings(seed=seed, **changes, epoch_share=1e-6)
    screened = case.select("gradient", settings)(settings.k_max)
    return _path(case, settings, excluded=np.setdiff1d(case.fields, screened).tolist()).subset


def as_published(case: Case, seed: int, changes: dict[str, Any]) -> Chosen:
    """As published: untrained net, closed gates feed zeros, one mask per batch, one training per K, its assignment."""
    published = {"mean_replacement": False, "noise_masks": 1}
    return training_per_k(case, seed, {**changes, **published}, model=case.fresh_net(seed))


def _path(case: Case, settings: PathSettings, **task: Any) -> Any:
    return fit_path(case.task(**task), settings)


def _with(method: Method, **fixed: Any) -> Method:
    return lambda case, seed, changes: method(case, seed, {**changes, **fixed})


FULL = "full method"
#: Name in the table -> method.
VARIANTS: dict[str, Method] = {
    FULL: full,
    "zero instead of mean replacement": _with(full, mean_replacement=False),
    "one noise mask per batch": _with(full, noise_masks=1),
    "labels only": labels_only,
    "no warm start": fresh_net,
    "no elimination: order of scores": order_of_scores,
    "no elimination: one training per K": training_per_k,
    "no concrete training: gradient screen": gradient_screen,
    "none of them": as_published,
}
