"""The concrete gates as a layer for your own model and training loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from concrete_selectors.embeddings import FieldLayout
from concrete_selectors.gates.concrete import ConcreteSelector
from concrete_selectors.gates.feature_groups import FeatureGroups
from concrete_selectors.gates.gating import FieldMeans, apply_gates, gates_of_rows
from concrete_selectors.gates.schedule import temperature
from concrete_selectors.gates.training import nested_counts, settle_step
from concrete_selectors.segments import Segments


class FeatureGate(nn.Module):
    """A layer that learns which K of N features a model needs.

    Place it between the embeddings and the rest of the model, and call ``gate.step()`` between ``loss.backward()`` and
    ``optimizer.step()``, because it uses the gradients of the gate. In this example the third of four features matters:

    Examples:
        >>> _ = torch.manual_seed(0)
        >>> embedded = torch.randn(512, 4, 1)
        >>> gate, layer = FeatureGate(n_features=4, k=1, steps=120), nn.Linear(4, 1)
        >>> optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
        >>> for _ in range(120):
        ...     optimizer.zero_grad()
        ...     output = layer(gate(embedded).flatten(1))
        ...     (output - embedded[:, 2]).square().mean().backward()
        ...     gate.step()
        ...     optimizer.step()
        >>> gate.keep()
        array([2])

    All gates are open during the warm-up, so that the model first learns from all features: wide embeddings learn in
    fewer steps than narrow ones, and gates would otherwise settle on them. Afterwards every part of a batch sees gates
    ``g`` between 0 and 1 with independent noise, and feature i enters as ``mean_i + g_i (embedding_i - mean_i)``. As
    the temperature falls, gates settle on 0 or 1. In evaluation the best ``k`` features enter unchanged, the others as
    their means.

    The layer has its own optimiser, because its logits must move far in few steps. Its state (weights, step, means,
    optimiser, noise) is in ``state_dict``, so a training resumed from a checkpoint gives bit-identical results.

    Args:
        n_features: N.
        k: number of features that are open in evaluation; with groups, number of groups.
        steps: optimiser steps of the whole training.
        warmup: share of the steps during which all gates are open, 0 to below 1; 0 for a model that is already trained.
        slots: number of trained slots, at least k; None = k.
        widths: embedding width of each feature, only for flat embeddings (B, sum of widths).
        groups: features that are kept or dropped together, as in ``concrete_selectors.SelectionTask``.
        protected: features that are always kept.
        excluded: features that are never kept.
        kind: ``ip_cae`` (indirect logits) or ``cae`` (direct logits).
        temperature_start: temperature after the warm-up, see ``concrete_selectors.temperature``.
        temperature_end: temperature after annealing.
        anneal_share: share of the steps over which the temperature falls.
        noise_masks: independent masks per batch, each for a share of the rows.
        mean_replacement: a closed gate feeds the feature's mean embedding; False = zero.
        generator: CPU generator of the initial weights and of the seed of all noise; None = torch's default.

    Raises:
        ValueError: an invalid number, or a constraint that does not fit the features.
    """

    def __init__(
        self,
        n_features: int,
        k: int,
        *,
        steps: int,
        warmup: float = 1 / 3,
        slots: int | None = None,
        widths: Sequence[int] | None = None,
        groups: Sequence[int] | None = None,
        protected: Sequence[int] = (),
        excluded: Sequence[int] = (),
        kind: Literal["ip_cae", "cae"] = "ip_cae",
        temperature_start: float = 10.0,
        temperature_end: float = 0.1,
        anneal_share: float = 1.0,
        noise_masks: int = 16,
        mean_replacement: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.k, self.widths, self.noise_masks = k, widths, noise_masks
        self.groups = FeatureGroups(n_features, groups=groups, protected=protected, excluded=excluded)
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup={warmup}: give a share of the steps, 0 to below 1")
        self._steps, self._warm_steps = steps, int(warmup * steps)
        self._schedule = {"start": temperature_start, "end": temperature_end, "share": anneal_share}
        self._step = self._updates = self._draws = 0
        _ = self.temperature  # raises for an invalid schedule
        always, usable = int(self.groups.protected.sum()), self.groups.n_usable
        if not max(always, 1) <= k <= usable:
            raise ValueError(f"k={k}: give {max(always, 1)} to {usable}")
        if noise_masks < 1:
            raise ValueError(f"noise_masks={noise_masks}: give at least 1")
        slots = k if slots is None else slots
        if not k <= slots <= usable or slots == always:
            raise ValueError(
                f"slots={slots}: give {max(k, always + 1)} to {usable}; the {always} protected groups do not need slots"
            )
        self.selector = ConcreteSelector(
            self.groups.n_groups,
            slots - always,
            kind=kind,
            blocked=torch.as_tensor(self.groups.protected | self.groups.excluded),
            generator=generator,
        )
        rate = self.selector.learning_rate(settle_step(steps - self._warm_steps))
        self._optimizer = torch.optim.Adam(self.selector.parameters(), lr=rate)
        self._noise_seed = int(torch.randint(2**62, (), generator=generator))
        self._means = FieldMeans(enabled=mean_replacement)
        self._layout: FieldLayout | None = None
        self._segments: Segments
        self._versions: list[int] | None = None
        self._hard: list[int] | None = None

    @property
    def temperature(self) -> float:
        """The temperature of the gates at this step."""
        warm = self._warm_steps
        return temperature(self._step - warm, steps=self._steps - warm, **self._schedule)

    def forward(self, embedded: Any) -> Any:
        """Return the gated embeddings in the form of the input.

        Args:
            embedded: (B, N, d), a list of N tensors (B, d_i), a dict of name -> (B, d_i), TorchRec's KeyedTensor, or
                (B, sum of widths).

        Raises:
            ValueError: the number of embeddings is not N, or their widths have changed.
        """
        flat = self._flatten(embedded)
        assert self._layout is not None
        means = self._means.update(flat) if self.training and self._hard is None else self._means.value
        if means is None:  # no training batch seen yet
            return embedded
        gates = self._gates_in_training(flat) if self.training else self._open(flat)
        return self._layout.restore(apply_gates(flat, gates, means.to(flat), self._segments))

    def step(self, share: float | None = None) -> None:
        """Update the gates from their gradients, clear the gradients, and lower the temperature.

        Call it after ``loss.backward()`` and before ``optimizer.step()``. A step whose gradients contain NaN or inf (a
        gradient scaler's first steps) does not change the gates.

        Args:
            share: fraction of the whole training that is done, 0 to 1; None = one more of ``steps``.

        Raises:
            RuntimeError: there is no gradient, or another optimiser has changed the gates.
            ValueError: ``share`` is not between 0 and 1.
        """
        if share is not None and not 0 <= share <= 1:
            raise ValueError(f"share={share}: give a number from 0 to 1")
        weights = list(self.selector.parameters())
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if len(gradients) < len(weights):
            raise RuntimeError("gate.step(): no gradient; call it after loss.backward() and before zero_grad()")
        if self._hard is None and self._versions != [weight._version for weight in weights]:
            raise RuntimeError("gate.step(): another optimiser has changed the gates; call it before optimizer.step()")
        if self._is_selecting and all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
            self._optimizer.step()
            self._updates += 1
        self._optimizer.zero_grad(set_to_none=True)
        self._step = self._step + 1 if share is None else round(share * self._steps)

    @property
    def _is_selecting(self) -> bool:
        return self._hard is None and self._step >= self._warm_steps

    def keep(self, k: int | None = None) -> np.ndarray:
        """The best ``k`` features (with groups: the features of the best ``k`` groups), sorted, int64.

        Args:
            k: None = the layer's own.

        Raises:
            RuntimeError: the gates were never trained.
            ValueError: k is below the number of protected groups (at least 1), or above the number of usable ones.
        """
        if not self._updates:
            raise RuntimeError("gate.keep(): the gates were never trained; call gate.step() after each loss.backward()")
        order = self.groups.ranked(self.selector.scores())
        return self.groups.prefix(order, self.k if k is None else k)

    def hard(self, k: int | None = None) -> FeatureGate:
        """End the selection: from now on, training too sees only the best ``k`` features; use it for fine-tuning.

        Args:
            k: None = the layer's own.

        Raises:
            RuntimeError, ValueError: as ``keep``.
        """
        self._hard = self.keep(k).tolist()
        return self

    def get_extra_state(self) -> dict[str, Any]:
        """State in ``state_dict`` in addition to the weights."""
        return {
            "step": self._step,
            "updates": self._updates,
            "draws": self._draws,
            "noise_seed": self._noise_seed,
            "hard": self._hard,
            "means": self._means.value,
            "optimizer": self._optimizer.state_dict(),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the state from ``get_extra_state``."""
        self._step, self._updates, self._draws = state["step"], state["updates"], state["draws"]
        self._noise_seed, self._hard, self._means.value = state["noise_seed"], state["hard"], state["means"]
        self._optimizer.load_state_dict(state["optimizer"])

    def _apply(self, *args: Any, **kwargs: Any) -> FeatureGate:
        super()._apply(*args, **kwargs)
        self._optimizer.load_state_dict(self._optimizer.state_dict())  # moves its state to the device of the weights
        return self

    def _flatten(self, embedded: Any) -> Tensor:
        """Embeddings (B, D); their layout must be the layout of the first batch."""
        try:
            names = () if self._layout is None else self._layout.names
            layout = FieldLayout.of(embedded, widths=self.widths, names=names)
            if len(layout.widths) != self.groups.n_features:
                raise ValueError(f"{len(layout.widths)} embeddings for {self.groups.n_features} features")
            if self._layout is None:
                self._layout, self._segments = layout, Segments(layout.widths)
            self._layout.require(layout)
        except ValueError as error:
            raise ValueError(f"FeatureGate received {error}") from None
        return layout.flatten(embedded)

    def _open(self, flat: Tensor) -> Tensor:
        """(N,) of 0 / 1: the best features, or all usable ones if the gates are not trained yet."""
        if self._updates:
            kept: Any = self.keep() if self._hard is None else self._hard
            return flat.new_zeros(self.groups.n_features).index_fill(0, torch.as_tensor(kept, device=flat.device), 1.0)
        return torch.as_tensor(~self.groups.excluded[self.groups.of_feature], device=flat.device).to(flat.dtype)

    def _gates_in_training(self, flat: Tensor) -> Tensor:
        """Gates (N,) or (B, N)."""
        weights = list(self.selector.parameters())
        self._versions = [weight._version for weight in weights]
        if self._is_selecting:
            return self._soft_gates(flat)
        # Every weight must take part in every step, or DistributedDataParallel would wait for its gradient.
        return self._open(flat) + 0.0 * torch.stack([weight.sum() for weight in weights]).sum().to(flat.dtype)

    def _soft_gates(self, flat: Tensor) -> Tensor:
        """Gates of each row, (B, N); their noise depends only on the seed and the number of the draw."""
        generator = torch.Generator(device=flat.device).manual_seed(self._noise_seed + self._draws)
        self._draws += 1
        counts = nested_counts(self.noise_masks, self.selector.n_slots, generator)
        gates = self.selector.gates(self.temperature, self.noise_masks, counts=counts, generator=generator)
        protected = torch.as_tensor(self.groups.protected, device=gates.device, dtype=gates.dtype)
        by_feature = self.groups.feature_gates(torch.maximum(gates, protected))
        return gates_of_rows(by_feature, len(flat)).to(flat.dtype)
