"""What a selection gives: a kept set for every K, and how good each was on validation data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.gates.feature_groups import FeatureGroups
from concrete_selectors.gates.gating import apply_gates


@dataclass(frozen=True, kw_only=True)
class SelectionPath:
    """Kept sets for every K from one selection.

    Features are numbered as the model embeds them, 0 to N - 1. With groups, K counts groups.

    Attributes:
        ranking: (N,) int64, best first: always-kept features and the survivors of elimination, then eliminated
            candidates from last to first, then the rest by concrete score.
        scores: (N,) float64, log of the expected number of slots that choose the feature; -inf where none may.
        ks: K of the curve, ascending.
        loss_at: K -> mean validation loss of the fine-tuned network behind ``subset(K)``; empty where the settings do
            without it (``measure_curve``).
        converged: did every slot make up its mind, hardly any two for the same feature?
        n_duplicate_argmax: slots whose first choice was also an earlier slot's.
        mean_max_probability: mean over slots of the largest probability.
        carried_by: (N,) int64, for each feature the candidate that shares its slot most, itself if a candidate.
        row_passes: rows sent through the network, ``forward_backward`` and ``forward`` only.
        solver_work: what the elimination's small networks and linear algebra cost beside that, in rows sent forward and
            backward times parameters met (rows sent forward only count a third).
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
    solver_work: float
    _order: np.ndarray
    _units: FeatureGroups
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
