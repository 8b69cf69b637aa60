"""Readers: small networks on the cached embeddings of the candidates, which judge removals cheaply.

A user's model of thousands of inputs is too expensive for thousands of questions "what if this one goes too?". A
reader is a perceptron on the candidates' embeddings as the trained network left them, centred so that a closed gate
(which feeds the field's mean) is a zero. It learns on random subsets and so is fit for all of them. Its first layer is
linear: the loss without a unit takes one subtraction of the unit's contribution, and units that are gone are cut away
exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from concrete_selectors.contract import Loss
from concrete_selectors.gating import rows_to_groups
from concrete_selectors.judge import Judge

#: Units of the two hidden layers.
HIDDEN = (64, 32)
BATCH = 512
_LEARNING_RATE = 2e-3
#: Rows of the network's own logits that set the range of a reader's.
_RANGE_ROWS = 4096


@dataclass(frozen=True)
class Cache:
    """Rows as a reader sees them.

    Attributes:
        inputs: (R, k, w) centred embeddings of k units over their common deviation; units of several features own
            w = features x d numbers, narrower ones are padded with zeros.
        target: (R,).
        deviation: what the centred embeddings were divided by.
        shift, scale: (C,) mean and deviation of the network's own logits.
        one_logit: does the network give (B,) rather than (B, C)?
    """

    inputs: Tensor
    target: Tensor
    deviation: Tensor
    shift: Tensor
    scale: Tensor
    one_logit: bool

    def rows(self, index: Tensor) -> Cache:
        """Some of the rows."""
        return replace(self, inputs=self.inputs[index], target=self.target[index])

    def units(self, keep: Tensor) -> Cache:
        """Some of the units."""
        return replace(self, inputs=self.inputs[:, keep])


class Reader(nn.Module):
    """Perceptron whose first layer adds up one contribution per unit.

    Args:
        cache: rows it will read; sets the sizes and the range of the outputs.
        generator: of the initial weights, on the CPU.
    """

    def __init__(self, cache: Cache, *, generator: torch.Generator) -> None:
        super().__init__()
        _, units, width = cache.inputs.shape
        first, second = HIDDEN

        def uniform(*shape: int, inputs: int) -> nn.Parameter:
            return nn.Parameter(inputs**-0.5 * (2 * torch.rand(*shape, generator=generator) - 1))

        self.entry = uniform(units, width, first, inputs=units * width)
        self.bias = uniform(first, inputs=units * width)
        self.middle, self.middle_bias = uniform(second, first, inputs=first), uniform(second, inputs=first)
        self.out, self.out_bias = (
            uniform(len(cache.shift), second, inputs=second),
            uniform(len(cache.shift), inputs=second),
        )
        self.register_buffer("shift", cache.shift)
        self.register_buffer("scale", cache.scale)
        self.one_logit = cache.one_logit
        self.to(cache.inputs.device)

    @property
    def n_weights(self) -> int:
        """Numbers a row is multiplied with."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def n_head_weights(self) -> int:
        """The same behind the first layer."""
        return self.n_weights - self.entry.numel()

    def forward(self, inputs: Tensor, gates: Tensor) -> Tensor:
        """Logits of rows (B, k, w) behind unit gates (B, k)."""
        return self.head(self.enter(inputs * gates.unsqueeze(-1)))

    def enter(self, inputs: Tensor) -> Tensor:
        """The first layer's sum (B, h) over all units of rows (B, k, w)."""
        return torch.addmm(self.bias, inputs.flatten(1), self.entry.flatten(0, 1))

    def head(self, entered: Tensor) -> Tensor:
        """Logits from the first layer's sum (B, h)."""
        hidden = torch.relu(torch.addmm(self.middle_bias, torch.relu(entered), self.middle.T))
        logits = torch.addmm(self.out_bias, hidden, self.out.T) * self.get_buffer("scale") + self.get_buffer("shift")
        return logits.squeeze(-1) if self.one_logit else logits

    def cut(self, keep: Tensor) -> None:
        """Removes all other units; exact, for a closed unit contributes zero."""
        self.entry = nn.Parameter(self.entry.detach()[keep])


def cache_rows(judge: Judge, units: np.ndarray, *, like: Cache | None = None) -> Cache:
    """Embeds the judge's rows once and keeps what the given units hold, scaled ``like`` another cache."""
    network, means = judge.network, judge.network.field_means()
    fields = [network.units.features([unit]) for unit in units]
    width = max(len(part) for part in fields)
    index = torch.zeros(len(units), width, dtype=torch.int64, device=network.device)
    used = torch.zeros(len(units), width, 1, device=network.device)
    for number, owned in enumerate(fields):
        index[number, : len(owned)] = torch.as_tensor(owned, device=network.device)
        used[number, : len(owned)] = 1.0
    gates = network.units.feature_gates(network.units.mask(units, network.device))
    inputs: list[Tensor] = []
    logits: list[Tensor] = []
    for part, embedded in judge.embedded():
        if judge.forward_rows < _RANGE_ROWS:
            logits.append(judge.logits(embedded, gates))
        centred = (embedded - means).index_select(1, index.flatten())
        inputs.append((centred.view(len(part.target), len(units), width, -1) * used).flatten(2))
    values, outputs = torch.cat(inputs), torch.cat(logits)
    target = torch.cat([part.target for part in judge.parts])
    if like is not None:
        return replace(like, inputs=values.div_(like.deviation), target=target)
    deviation = values.std().clamp_min(1e-12)
    flat = outputs.unsqueeze(1) if outputs.dim() == 1 else outputs
    spread = flat.std(dim=0, correction=0).clamp_min(1e-6)
    return Cache(values.div_(deviation), target, deviation, flat.mean(dim=0), spread, outputs.dim() == 1)


def train_reader(
    reader: Reader,
    cache: Cache,
    *,
    loss: Loss,
    steps: int,
    fixed: np.ndarray,
    smallest: int,
    n_masks: int,
    random: np.random.Generator,
) -> None:
    """Trains on random subsets; half of the groups of rows see all units, the others ``smallest`` to all of them.

    Args:
        reader: changed in place.
        cache: rows to train on.
        loss: per-row loss.
        steps: batches to train on, of 512 rows where there are as many.
        fixed: (k,) bool, units that are always open.
        smallest: fewest open units.
        n_masks: subsets per batch.
        random: order of rows and subsets.
    """
    rows, units = cache.inputs.shape[:2]
    device = cache.inputs.device
    optimizer = torch.optim.Adam(reader.parameters(), lr=_LEARNING_RATE, weight_decay=1e-5)
    order = torch.as_tensor(random.permutation(rows), device=device)
    batches = order.split(BATCH)
    for step in range(steps):
        index = batches[step % len(batches)]
        sizes = np.full(n_masks, units)
        sizes[1::2] = random.integers(smallest, units + 1, size=len(sizes[1::2]))
        ranks = (random.random((n_masks, units)) - 2.0 * fixed).argsort(axis=1).argsort(axis=1)
        gates = torch.as_tensor((ranks < sizes[:, None]).astype(np.float32), device=device)
        group = rows_to_groups(len(index), min(n_masks, len(index)), device)
        logits = reader(cache.inputs.index_select(0, index), gates.index_select(0, group))
        value = loss(logits, cache.target.index_select(0, index)).mean()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()


class Look:
    """A reader's loss on fixed rows while units are dropped one after the other; nothing is learned meanwhile.

    Args:
        reader: judged as it is.
        cache: rows to judge on.
        loss: per-row loss.

    Attributes:
        work: rows sent forward times the weights they met, a third of them (backward costs twice forward).
    """

    def __init__(self, reader: Reader, cache: Cache, *, loss: Loss) -> None:
        self._reader, self._cache, self._loss = reader, cache, loss
        with torch.no_grad():
            self._entered = reader.enter(cache.inputs)
        self.work = len(cache.target) * reader.entry.numel() / 3

    def loss(self) -> float:
        """Summed loss behind the units still open."""
        return self._total(self._entered)

    def without(self, unit: int) -> float:
        """The same without one more unit."""
        return self._total(self._entered - self._contribution(unit))

    def drop(self, unit: int) -> None:
        """Closes a unit for good."""
        self._entered -= self._contribution(unit)

    def _contribution(self, unit: int) -> Tensor:
        with torch.no_grad():
            return self._cache.inputs[:, unit] @ self._reader.entry[unit]

    def _total(self, entered: Tensor) -> float:
        self.work += len(entered) * self._reader.n_head_weights / 3
        with torch.no_grad():
            return float(self._loss(self._reader.head(entered), self._cache.target).double().sum())
