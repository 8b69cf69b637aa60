"""Units of selection: single features, or groups of features that are kept and dropped together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class FeatureGroups:
    """Maps features to the units a selector chooses among; without groups every feature is its own unit.

    Args:
        n_features: N.
        groups: group id of each feature (any hashable order, equal id = one unit); None = no groups.
        protected: features that are always kept; their whole unit is.

    Attributes:
        of_feature: (N,) int64, unit of each feature; units are numbered by first appearance.
        n_units: U.
        protected: (U,) bool, units that are always kept.

    Raises:
        ValueError: ``groups`` has the wrong length, or a protected feature does not exist.
    """

    def __init__(self, n_features: int, *, groups: Sequence[int] | None = None, protected: Sequence[int] = ()) -> None:
        if n_features < 1:
            raise ValueError(f"n_features={n_features}: the model embeds no feature; selection needs at least one")
        if groups is not None and len(groups) != n_features:
            raise ValueError(f"groups: {len(groups)} ids for {n_features} features; give one id per feature")
        self.n_features = n_features
        number: dict[int, int] = {}
        ids = range(n_features) if groups is None else groups
        self.of_feature = np.array([number.setdefault(int(i), len(number)) for i in ids], dtype=np.int64)
        self.n_units = len(number)
        self.protected = np.zeros(self.n_units, dtype=bool)
        for feature in protected:
            if not 0 <= feature < n_features:
                raise ValueError(f"protected={feature}: features are numbered 0 to {n_features - 1}")
            self.protected[self.of_feature[feature]] = True

    def features(self, units: Sequence[int] | np.ndarray) -> np.ndarray:
        """Features of the given units, in the order of the units, (n,) int64."""
        order = np.argsort(self.of_feature, kind="stable")
        starts = np.searchsorted(self.of_feature[order], np.arange(self.n_units + 1))
        parts = [order[starts[unit] : starts[unit + 1]] for unit in units]
        return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)

    def feature_gates(self, gates: Tensor) -> Tensor:
        """Gates per unit (..., U) to gates per feature (..., N)."""
        if self.n_units == self.n_features:
            return gates
        index = torch.as_tensor(self.of_feature, device=gates.device)
        if gates.is_cuda:  # where the gradient of index_select adds in no fixed order
            return gates @ nn.functional.one_hot(index, self.n_units).to(gates.dtype).T
        return gates.index_select(-1, index)

    def mean_features(self, values: Tensor, *, name: str) -> Tensor:
        """Means per unit (U,) of per-feature values (N,), on the CPU.

        Raises:
            ValueError: wrong shape, or NaN or inf inside; calls the values by ``name``.
        """
        if values.shape != (self.n_features,):
            raise ValueError(f"{name}: shape {tuple(values.shape)} for {self.n_features} features; give one value each")
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{name}: holds NaN or inf; give a finite value per feature")
        index = torch.as_tensor(self.of_feature)
        total = torch.zeros(self.n_units).index_add_(0, index, values.detach().float().cpu())
        return total / torch.bincount(index, minlength=self.n_units)

    def sum_features(self, values: Tensor) -> Tensor:
        """Sums per-feature values (B, N) into per-unit values (B, U)."""
        if self.n_units == self.n_features:
            return values
        index = torch.as_tensor(self.of_feature, device=values.device)
        if values.is_cuda:  # where index_add adds in no fixed order
            return values @ nn.functional.one_hot(index, self.n_units).to(values.dtype)
        return values.new_zeros(len(values), self.n_units).index_add_(1, index, values)

    def mask(self, units: Sequence[int] | np.ndarray, device: torch.device) -> Tensor:
        """(U,) float32, one for the given units."""
        gates = torch.zeros(self.n_units, device=device)
        gates[torch.as_tensor(np.asarray(units, dtype=np.int64), device=device)] = 1.0
        return gates
