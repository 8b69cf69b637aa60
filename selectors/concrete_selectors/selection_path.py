"""What a selection gives: a kept set for every K."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from concrete_selectors.gates.feature_groups import FeatureGroups


@dataclass(frozen=True, kw_only=True)
class SelectionPath:
    """Kept sets for every K from one selection.

    Features are numbered as the model embeds them, 0 to N - 1. With groups, K counts groups.

    Attributes:
        ranking: (N,) int64, best first: always-kept features and the survivors of elimination, then eliminated
            candidates from last to first, then the rest by concrete score, then excluded features.
        scores: (N,) float64, higher is better: log of the expected number of slots that choose the feature's group, or
            what a baseline ranks by; -inf for excluded features.
        heldout_loss: K -> mean loss of the surrogate, recalibrated, on held-out rows: with all candidates, and with the
            groups left after every stage of the elimination. Empty where nothing was eliminated.
        converged: is every slot certain of its group, and do hardly any two choose the same?
        n_duplicate_argmax: slots whose first choice was also an earlier slot's.
        mean_max_probability: mean over slots of the largest probability.
        row_passes: rows sent through the network, ``forward_backward`` and ``forward`` only.
        gate_compute: what drawing the gates and learning their logits cost beyond that, estimated in rows sent forward
            and backward times parameters met.
        surrogate_compute: what the surrogate cost, in the same unit (rows sent forward only count a third).
    """

    ranking: np.ndarray
    scores: np.ndarray
    heldout_loss: dict[int, float]
    converged: bool = True
    n_duplicate_argmax: int = 0
    mean_max_probability: float = 1.0
    row_passes: dict[str, int]
    gate_compute: float = 0.0
    surrogate_compute: float = 0.0
    _groups: FeatureGroups
    _order: np.ndarray

    def subset(self, k: int) -> np.ndarray:
        """The features of the best ``k`` groups, sorted, always-kept ones inside.

        Raises:
            ValueError: k is below the number of always-kept groups (at least 1), or above that of usable ones.
        """
        return self._groups.prefix(self._order, k)
