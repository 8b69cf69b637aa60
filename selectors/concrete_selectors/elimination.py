"""Backward elimination behind hard gates: which unit costs the least to drop next?

Large sets shrink by a quadratic model of the loss in the gates (one backward pass for all units), several units at a
time; small sets one unit at a time by the exact loss without the unit, tried for the few that the quadratic model
finds cheapest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.gating import apply_gates
from concrete_selectors.training import GatedNetwork

#: Share of a large set that is dropped between two looks at the gradient.
CHUNK = 0.12
#: Units whose removal is tried exactly, per removal, where every try costs a pass through the whole network.
SHORTLIST = 4


@dataclass(frozen=True)
class Part:
    """Some rows of a batch: ``index`` picks them after embedding; None = all."""

    batch: Any
    target: Tensor
    index: Tensor | None

    @property
    def rows(self) -> int:
        """Number of rows picked."""
        return len(self.target)


def collect(batches: Iterable[tuple[Any, Tensor]], *, rows: int, fold: int | None = None) -> list[Part]:
    """Takes up to ``rows`` rows from the batches, in whole batches as far as possible.

    Args:
        batches: ``(batch, target)`` pairs.
        rows: most rows to take.
        fold: 0 takes even rows of each batch, 1 odd ones, None all.
    """
    parts: list[Part] = []
    left = rows
    for batch, target in batches:
        if left <= 0:
            break
        index = torch.arange(len(target), device=target.device)
        index = index if fold is None else index[index % 2 == fold]
        index = index[:left]
        if len(index) == 0:
            continue
        parts.append(Part(batch, target[index], None if len(index) == len(target) else index))
        left -= len(index)
    return parts


@dataclass
class Judge:
    """Measures what removals cost on fixed rows; counts the rows it sends through the network.

    A context manager: at its end it hands itself to ``done``, for the accounts.

    Attributes:
        network: in evaluation mode while judging.
        parts: the rows.
        done: called with the judge when its block ends.
        forward_rows: rows sent forward so far.
        backward_rows: rows sent forward and backward so far.
    """

    network: GatedNetwork
    parts: Sequence[Part]
    done: Callable[[Judge], None] = lambda judge: None
    forward_rows: int = 0
    backward_rows: int = 0

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *exception: object) -> None:
        self.done(self)

    @property
    def rows(self) -> int:
        """Rows judged on."""
        return sum(part.rows for part in self.parts)

    def embedded(self, part: Part) -> Tensor:
        """Embeddings of a part's rows, detached."""
        with torch.no_grad():
            embedded: Tensor = self.network.module.embed(part.batch)
        return embedded if part.index is None else embedded.index_select(0, part.index)

    def losses(self, gates: Tensor) -> Tensor:
        """Mean loss behind each row of unit gates (S, U); (S,) float64."""
        network, means = self.network, self._means()
        feature_gates = network.units.feature_gates(gates)
        totals = torch.zeros(len(gates), dtype=torch.float64, device=gates.device)
        network.module.eval()
        with torch.no_grad():
            for part in self.parts:
                embedded = self.embedded(part)
                for number, row in enumerate(feature_gates):
                    logits = network.module.predict(apply_gates(embedded, row, means))
                    totals[number] += network.loss(logits, part.target).double().sum()
        self.forward_rows += self.rows * len(gates)
        return totals / self.rows

    def quadratic(self, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quadratic model of the loss in the closing of gates, at all ``alive`` open.

        Closing a set s (0 / 1 vector over ``alive``) changes the mean loss by about ``g @ s + s @ H @ s / 2``. With one
        logit per row, H is the Gauss-Newton matrix; with several, the empirical Fisher matrix of the loss.

        Returns:
            ``g`` (k,) and ``H`` (k, k), float64.
        """
        network, means = self.network, self._means()
        gates = network.units.feature_gates(network.units.mask(alive, network.device))
        columns = torch.as_tensor(alive, device=network.device)
        slope = torch.zeros(len(alive), dtype=torch.float64, device=network.device)
        curvature = torch.zeros(len(alive), len(alive), dtype=torch.float64, device=network.device)
        network.module.eval()
        for part in self.parts:
            with torch.no_grad():
                embedded = self.embedded(part)
                gated = apply_gates(embedded, gates, means)
            gated.requires_grad_(True)
            logits = network.module.predict(gated)
            by_logit = logits.dim() == 1
            scalar = logits.sum() if by_logit else network.loss(logits, part.target).sum()
            (gradient,) = torch.autograd.grad(scalar, gated)
            moves = network.units.sum_features((gradient * (embedded - means)).sum(dim=-1)).index_select(1, columns)
            first, second = _loss_derivatives(network, logits.detach(), part.target) if by_logit else (None, None)
            slope -= (moves if first is None else first.unsqueeze(1) * moves).double().sum(dim=0)
            weighted = moves if second is None else second.unsqueeze(1) * moves
            curvature += (weighted.T @ moves).double()
        self.backward_rows += self.rows
        return (slope / self.rows).cpu().numpy(), (curvature / self.rows).cpu().numpy()

    def _means(self) -> Tensor:
        if self.network.means.value is None:
            raise RuntimeError("field means are needed before anything is judged; call means.refresh first")
        return self.network.means.value


def _loss_derivatives(network: GatedNetwork, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """First and (non-negative) second derivative of the per-row loss by the logit, (B,) each."""
    point = logits.requires_grad_(True)
    (first,) = torch.autograd.grad(network.loss(point, target).sum(), point, create_graph=True)
    if not first.requires_grad:  # piecewise linear loss
        return first.detach(), first.detach() ** 2
    (second,) = torch.autograd.grad(first.sum(), point)
    return first.detach(), second.clamp_min(0)


def eliminate(judge: Judge, alive: np.ndarray, *, down_to: int, exact_below: int) -> tuple[np.ndarray, list[int]]:
    """Drops units until ``down_to`` are left; protected units stay.

    Args:
        judge: measures removals.
        alive: units still open.
        down_to: units to leave.
        exact_below: sets of at most this many units lose one unit at a time.

    Returns:
        Units left, and the dropped ones in the order they went.
    """
    protected = judge.network.units.protected
    dropped: list[int] = []
    while len(alive) > down_to:
        slope, curvature = judge.quadratic(alive)
        exact = len(alive) <= exact_below
        count = 1 if exact else min(max(1, int(CHUNK * len(alive))), len(alive) - down_to)
        order = _greedy(slope, curvature, ~protected[alive], SHORTLIST if exact else count, fixed=exact)
        if not len(order):
            break
        if exact and len(order) > 1:
            base = judge.network.units.mask(alive, judge.network.device)
            trials = base.repeat(len(order), 1)
            trials[torch.arange(len(order)), torch.as_tensor(alive[order])] = 0.0
            order = order[[int(judge.losses(trials).argmin())]]
        gone = alive[order[:count]]
        dropped += [int(unit) for unit in gone]
        alive = np.setdiff1d(alive, gone)
    return alive, dropped


def _greedy(slope: np.ndarray, curvature: np.ndarray, free: np.ndarray, count: int, *, fixed: bool) -> np.ndarray:
    """Positions of the cheapest units: one after the other, or (``fixed``) each on its own."""
    cost = slope + 0.5 * np.diag(curvature)
    cost = np.where(free, cost, np.inf)
    if fixed:
        order = np.argsort(cost, kind="stable")[:count]
        return order[np.isfinite(cost[order])]
    chosen: list[int] = []
    for _ in range(min(count, int(free.sum()))):
        best = int(np.argmin(cost))
        chosen.append(best)
        cost = cost + curvature[best]
        cost[best] = np.inf
    return np.array(chosen, dtype=np.int64)
