"""Groups of features, the units that a selection keeps or drops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.indexing import take_columns


class FeatureGroups:
    """Mapping from features to the groups that a selector chooses among; without groups, each feature is one.

    Args:
        n_features: N.
        groups: group id of each feature (equal id = one group); None = no groups.
        protected: features that are always kept, with their whole group.
        excluded: features that are never kept, with their whole group.

    Attributes:
        of_feature: (N,) int64, group of each feature; groups are numbered by first appearance.
        n_groups: G.
        n_usable: groups that may be kept.
        protected, excluded: (G,) bool, groups that are always kept, and never kept.

    Raises:
        ValueError: ``groups`` has the wrong length, a protected or excluded feature does not exist, a group contains
            both a protected and an excluded feature, or all features are excluded.
    """

    def __init__(
        self,
        n_features: int,
        *,
        groups: Sequence[int] | None = None,
        protected: Sequence[int] = (),
        excluded: Sequence[int] = (),
    ) -> None:
        if n_features < 1:
            raise ValueError(f"n_features={n_features}: the model embeds no feature; at least one is required")
        if groups is not None and len(groups) != n_features:
            raise ValueError(f"groups: {len(groups)} ids for {n_features} features; give one id per feature")
        self.n_features = n_features
        number: dict[int, int] = {}
        ids = range(n_features) if groups is None else groups
        self.of_feature = np.array([number.setdefault(int(i), len(number)) for i in ids], dtype=np.int64)
        self.n_groups = len(number)
        order = np.argsort(self.of_feature, kind="stable")
        self._members = np.split(order, np.cumsum(np.bincount(self.of_feature))[:-1])
        self.protected = self._holding(protected, "protected")
        self.excluded = self._holding(excluded, "excluded")
        both = np.flatnonzero(self.protected & self.excluded)
        if len(both):
            raise ValueError(
                f"excluded: features {self.features(both).tolist()} are one group, but one of them is protected; "
                "a group must not contain both a protected and an excluded feature"
            )
        self.n_usable = int((~self.excluded).sum())
        if not self.n_usable:
            raise ValueError(f"excluded: all {n_features} features are excluded; leave at least one")

    def _holding(self, features: Sequence[int], name: str) -> np.ndarray:
        """Groups (G,) that contain one of the features."""
        held = np.zeros(self.n_groups, dtype=bool)
        for feature in features:
            if not 0 <= feature < self.n_features:
                raise ValueError(f"{name}={feature}: features are numbered 0 to {self.n_features - 1}")
            held[self.of_feature[feature]] = True
        return held

    def features(self, groups: Sequence[int] | np.ndarray) -> np.ndarray:
        """Features of the given groups, in the order of the groups, (n,) int64."""
        parts = [self._members[group] for group in groups]
        return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)

    def prefix(self, order: np.ndarray, k: int) -> np.ndarray:
        """Features of the first ``k`` groups of an order, sorted.

        Raises:
            ValueError: k is below the number of protected groups (at least 1), or above the number of usable ones.
        """
        lowest = max(1, int(self.protected.sum()))
        if not lowest <= k <= self.n_usable:
            raise ValueError(f"k={k}: give {lowest} to {self.n_usable}")
        return np.sort(self.features(order[:k]))

    def order_of(self, ranking: np.ndarray) -> np.ndarray:
        """Groups (G,) in order of their first feature in a ranking (N,); protected ones first, excluded ones last.

        Raises:
            ValueError: the ranking does not contain every feature exactly once.
        """
        if not np.array_equal(np.sort(ranking), np.arange(self.n_features)):
            raise ValueError(f"ranking: give each of the features 0 to {self.n_features - 1} once")
        _, first = np.unique(self.of_feature[ranking], return_index=True)
        return self.ranked(-first.astype(np.float64))

    def ranked(self, scores: np.ndarray) -> np.ndarray:
        """Groups (G,) by score (G,), best first; protected first, excluded last."""
        return np.lexsort((np.arange(self.n_groups), -scores, ~self.protected, self.excluded))

    def feature_gates(self, gates: Tensor) -> Tensor:
        """Expand gates per group (..., G) to gates per feature (..., N)."""
        if self.n_groups == self.n_features:
            return gates
        return take_columns(gates, torch.as_tensor(self.of_feature, device=gates.device))

    def mean_features(self, values: Tensor, *, name: str) -> Tensor:
        """Means per group (G,) of per-feature values (N,), on the CPU.

        Raises:
            ValueError: the shape is wrong or a value is NaN or inf; the message calls the values ``name``.
        """
        if values.shape != (self.n_features,):
            raise ValueError(f"{name}: shape {tuple(values.shape)} for {self.n_features} features; give one each")
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{name}: contains NaN or inf; give one finite value per feature")
        index = torch.as_tensor(self.of_feature)
        total = torch.zeros(self.n_groups).index_add_(0, index, values.detach().float().cpu())
        return total / torch.bincount(index, minlength=self.n_groups)

    def mask(self, groups: Sequence[int] | np.ndarray, device: torch.device) -> Tensor:
        """(G,) float32, one for the given groups."""
        gates = torch.zeros(self.n_groups, device=device)
        gates[torch.as_tensor(np.asarray(groups, dtype=np.int64), device=device)] = 1.0
        return gates
