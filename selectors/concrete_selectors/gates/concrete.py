"""The concrete selector layer: K relaxed one-hot choices among N units, with direct or indirect logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional

from concrete_selectors.gates.noisy_gates import minus_gumbel, noisy_gates

#: One Adam step of size ``lr`` on both factors of an indirect logit moves it by about ``0.8 * P * lr`` (measured).
INDIRECT_SPEED = 0.8
#: Work of one number of a mask (noise, softmax, gradient) and of one product in the logits, in rows sent forward and
#: backward times parameters met: measured against the CPU time of full trainings, whose batches are small.
_NUMBER_WORK, _PRODUCT_WORK = 40.0, 1 / 3
#: Logit of a unit that slots must not choose; finite, so that softmax and its gradient stay finite.
BLOCKED = -1e4


class ConcreteSelector(nn.Module):
    """K slots, each a Gumbel-softmax distribution over N units.

    Logits are ``L`` itself (K, N) for ``kind="cae"`` (Abid, Balin, Zou 2019) or ``Psi @ W.T + b`` with ``Psi`` (K, P),
    ``W`` (N, P), ``b`` (N,) for ``kind="ip_cae"`` (Nilsson et al. 2024, eq. 5). A mask is
    ``softmax((L + g) / temperature)`` over units, ``g`` standard Gumbel noise.

    Args:
        n_units: N, units to choose from.
        n_slots: K, 1 <= K <= N.
        kind: parametrisation of the logits.
        rank: P; None = ``max(64, K)``. ``cae`` ignores it.
        prior: (N,) constant added to every slot's logits (relevance, negative cost); None = none.
        blocked: (N,) bool, units that slots must not choose (kept anyway, or unusable); None = none.
        generator: CPU generator of the initial values.

    Raises:
        ValueError: K < 1, K above the number of units that are free to choose, or P < 1.
    """

    def __init__(
        self,
        n_units: int,
        n_slots: int,
        *,
        kind: Literal["ip_cae", "cae"] = "ip_cae",
        rank: int | None = None,
        prior: Tensor | None = None,
        blocked: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        free = n_units if blocked is None else n_units - int(blocked.sum())
        if n_slots < 1 or n_slots > free:
            raise ValueError(f"n_slots={n_slots}: {free} features are free to choose; give 1 to {free}")
        if kind not in ("ip_cae", "cae"):
            raise ValueError(f"kind={kind!r}: give ip_cae or cae")
        self.kind = kind
        self.n_units, self.n_slots = n_units, n_slots
        self.rank = default_rank(n_slots) if rank is None else rank
        if self.rank < 1:
            raise ValueError(f"rank={rank}: give at least 1, or None for max(64, K)")
        offset = torch.zeros(n_units) if prior is None else prior.detach().float().cpu().clone()
        if blocked is not None:
            offset = offset.masked_fill(blocked.cpu(), BLOCKED)
        self.register_buffer("offset", offset)
        if kind == "cae":
            self.direct = nn.Parameter(0.01 * torch.randn(n_slots, n_units, generator=generator))
            return
        bound = 1.0 / math.sqrt(self.rank)  # torch's Linear default: initial logits have sd 0.577 for every P
        self.psi = nn.Parameter(torch.randn(n_slots, self.rank, generator=generator))
        self.weight = nn.Parameter(bound * (2 * torch.rand(n_units, self.rank, generator=generator) - 1))
        self.bias = nn.Parameter(bound * (2 * torch.rand(n_units, generator=generator) - 1))

    def logits(self) -> Tensor:
        """Noise-free logits (K, N), including prior and blocked units."""
        offset: Tensor = self.get_buffer("offset")
        if self.kind == "cae":
            return self.direct + offset
        return torch.addmm(self.bias + offset, self.psi, self.weight.T)

    def learning_rate(self, logit_step: float) -> float:
        """Adam learning rate at which one step moves a logit by about ``logit_step``, for any N and P."""
        return logit_step if self.kind == "cae" else logit_step / (INDIRECT_SPEED * self.rank)

    def masks(self, temperature: float, n_masks: int = 1, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n_masks`` independent masks (S, K, N); each row sums to one."""
        logits = self.logits()
        noise = minus_gumbel(n_masks * self.n_slots, self.n_units, logits, generator)
        return torch.softmax((logits - noise.view(n_masks, *logits.shape)) / temperature, dim=-1)

    def gates(
        self,
        temperature: float,
        n_masks: int = 1,
        *,
        counts: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Gates (S, N) of ``n_masks`` independent masks; see ``noisy_gates``.

        Args:
            temperature: temperature of the softmax.
            n_masks: S.
            counts: of each mask, how many slots take part, the first ones, 1 to K; None = all.
            generator: source of the noise, on the device of the parameters.
        """
        counts = [self.n_slots] * n_masks if counts is None else counts
        return noisy_gates(self.logits(), temperature, counts, generator)

    def probabilities(self) -> Tensor:
        """Noise-free choice probabilities at temperature one, (K, N), detached."""
        return torch.softmax(self.logits().detach(), dim=-1)

    def assignment(self) -> np.ndarray:
        """One distinct unit per slot, (K,) int64; see ``assign_distinct``."""
        return assign_distinct(self.logits().detach())

    def scores(self) -> np.ndarray:
        """Log of the expected number of slots that choose each unit, (N,) float64."""
        logits = self.logits().detach().double()
        return torch.logsumexp(torch.log_softmax(logits, dim=-1), dim=0).cpu().numpy()

    def n_duplicate_argmax(self) -> int:
        """Slots whose argmax is also an earlier slot's argmax."""
        return self.n_slots - len(torch.unique(self.logits().detach().argmax(dim=-1)))

    def mean_max_probability(self) -> float:
        """Mean over slots of the largest probability; 1 if every slot is certain."""
        return float(self.probabilities().max(dim=-1).values.mean())


def default_rank(n_slots: int) -> int:
    """P of an indirect selector."""
    return max(64, n_slots)


def gate_compute(n_units: int, n_slots: int, *, kind: str, n_masks: int) -> float:
    """What the gates of one step are expected to cost, in rows sent forward and backward times parameters met.

    Half of the masks have all slots, the others about K / log(K) (see ``training.nested_counts``).

    Args:
        n_units, n_slots, kind: as in ``ConcreteSelector``.
        n_masks: of the step.
    """
    rows = (n_masks + 1) // 2 * n_slots + n_masks // 2 * n_slots / math.log(n_slots + 1)
    products = 0 if kind == "cae" else n_slots * default_rank(n_slots)
    return n_units * (_NUMBER_WORK * rows + _PRODUCT_WORK * products)


def assign_distinct(logits: Tensor) -> np.ndarray:
    """Choose distinct units for all slots: the maximum-weight assignment on ``log_softmax(logits)``.

    Args:
        logits: (K, N), K <= N.

    Returns:
        (K,) int64, the unit of each slot, all different.
    """
    weights = functional.log_softmax(logits.double(), dim=-1).cpu().numpy()
    slots, units = linear_sum_assignment(weights, maximize=True)
    chosen = np.empty(len(weights), dtype=np.int64)
    chosen[slots] = units
    return chosen


def generalized_jensen_shannon(probabilities: Tensor) -> Tensor:
    """Diversity of the slots, to be maximised: ``H(mean_k pi_k) - mean_k H(pi_k)`` in nats, () in [0, log K].

    Args:
        probabilities: (K, N), rows sum to one.
    """

    def entropy(p: Tensor) -> Tensor:
        return -torch.xlogy(p, p).sum(dim=-1)

    return entropy(probabilities.mean(dim=0)) - entropy(probabilities).mean()
