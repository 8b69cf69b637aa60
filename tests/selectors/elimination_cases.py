"""Cached embeddings with a known truth, for tests of the surrogate and of the elimination."""

from __future__ import annotations

import numpy as np
import torch
from concrete_selectors.elimination.surrogate import EmbeddingCache
from concrete_selectors.segments import Segments
from torch import Tensor
from torch.nn import functional


def bce(logits: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def cache_of(
    values: np.ndarray | list[np.ndarray], target: np.ndarray, taught: np.ndarray | None = None
) -> EmbeddingCache:
    """A cache of unchanged values (rows, groups, width), or (rows, width) per group; one logit."""
    one = torch.ones(1)
    parts = list(values) if isinstance(values, list) else list(np.moveaxis(values, 1, 0))
    return EmbeddingCache(
        torch.as_tensor(np.concatenate(parts, axis=1).astype(np.float32)),
        Segments([part.shape[1] for part in parts]),
        torch.as_tensor(target.astype(np.float32)),
        torch.tensor(1.0),
        torch.zeros(1),
        one,
        one_logit=True,
        taught=None if taught is None else torch.as_tensor(taught.astype(np.float32)),
    )


def signals_and_noise(rows: int = 1500, groups: int = 8, *, seed: int = 0) -> EmbeddingCache:
    """Groups 0 and 1 determine the target; group 2 is a copy of group 0; the rest is noise."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, groups, 2))
    values[:, 2] = values[:, 0] + 0.05 * random.normal(size=(rows, 2))
    chance = 1 / (1 + np.exp(-2 * values[:, 0, 0] + 2 * values[:, 1, 1]))
    return cache_of(values, random.random(rows) < chance)
