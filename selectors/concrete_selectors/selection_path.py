"""The result of a selection: a kept set for every K."""

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
            a baseline's score; -inf for excluded features.
        heldout_loss: K -> mean held-out loss of the surrogate after recalibration: with all candidates, and with the
            groups left after every stage of the elimination. Empty if no feature was eliminated.
        converged: True if every slot is certain of its group and few slots choose the same group.
        n_duplicate_argmax: slots whose argmax is also an earlier slot's argmax.
        mean_max_probability: mean over slots of the largest probability.
        row_passes: rows sent through the network, ``forward_backward`` and ``forward`` only.
        gate_compute: additional cost of drawing the gates and training their logits, estimated in rows sent forward and
            backward times parameters met.
        surrogate_compute: additional cost of the surrogate, in the same unit (rows sent forward only count a third).
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
        """The features of the best ``k`` groups, sorted, including the always-kept ones.

        Raises:
            ValueError: k is below the number of always-kept groups (at least 1), or above the number of usable ones.
        """
        return self._groups.prefix(self._order, k)
