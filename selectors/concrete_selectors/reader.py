"""Readers: small networks on the cached embeddings of the candidates, which judge removals cheaply.

A user's model of thousands of inputs is too expensive for thousands of questions "what if this one goes too?". A
reader is a perceptron on the candidates' embeddings as the trained network left them, centred so that a closed gate
(which feeds the field's mean) is a zero. It learns on random subsets and so is fit for all of them. Its first layer is
linear: the loss without a unit takes one subtraction of the unit's contribution, and units that are gone are cut away
exactly.

Readers are taught by the labels and, where it can be asked, by the trained model: what it expects of a row has been
averaged over many rows like it, while a label is one throw of the dice (Hinton et al. 2015, knowledge distillation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from concrete_selectors.averaging import WeightAverage
from concrete_selectors.contract import Loss
from concrete_selectors.gating import gates_of_rows
from concrete_selectors.judge import Judge

#: Units of the two hidden layers, and of those of readers of few rows: there, asking is most of what a selection costs.
_HIDDEN, _HIDDEN_FEW_ROWS, _FEW_ROWS = (64, 32), (32, 16), 20_000
#: A pass over the rows takes about so many batches, of so many rows at least and at most.
_BATCHES_PER_PASS, _SMALLEST_BATCH, _LARGEST_BATCH = 80, 32, 512
_LEARNING_RATE = 2e-3
#: Slowest decay of the average of weights that a training ends with.
_DECAY = 0.99
#: Rows of the network's own logits that set the range of a reader's.
_RANGE_ROWS = 4096


@dataclass(frozen=True)
class Cache:
    """Rows as a reader sees them.

    Attributes:
        inputs: (R, k, w) centred embeddings of k units over their common deviation; units of several features own
            w = features x d numbers, narrower ones are padded with zeros.
        target: (R,).
        expected: what the trained model expects of the rows, as the loss takes targets; None = it cannot be asked.
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
    expected: Tensor | None = None

    def rows(self, index: Tensor) -> Cache:
        """Some of the rows."""
        expected = None if self.expected is None else self.expected[index]
        return replace(self, inputs=self.inputs[index], target=self.target[index], expected=expected)

    def first(self, rows: int) -> Cache:
        """At most so many rows, from the start."""
        return self.rows(torch.arange(min(rows, len(self.target)), device=self.target.device))

    def join(self, other: Cache) -> Cache:
        """The rows of both."""
        expected = None
        if self.expected is not None and other.expected is not None:
            expected = torch.cat([self.expected, other.expected])
        inputs, target = torch.cat([self.inputs, other.inputs]), torch.cat([self.target, other.target])
        return replace(self, inputs=inputs, target=target, expected=expected)

    def distinct(self) -> np.ndarray:
        """Number of different embeddings of each unit, (k,) int64."""
        generator = torch.Generator().manual_seed(0)
        line = torch.randn(self.inputs.shape[2], generator=generator).to(self.inputs.device)
        # Different embeddings practically never have the same shadow on a random line.
        return np.array([len((unit * line).sum(dim=1).unique()) for unit in self.inputs.unbind(dim=1)])

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
        first, second = _HIDDEN if len(cache.target) >= _FEW_ROWS else _HIDDEN_FEW_ROWS

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
    expectations: list[Tensor] = []
    for part, embedded in judge.embedded():
        if network.expected is not None:
            expectations.append(network.expected(part.batch, part.index))
        if sum(map(len, logits)) < _RANGE_ROWS:
            logits.append(judge.logits(embedded, gates))
        chosen = index.flatten()
        centred = embedded.index_select(1, chosen) - means.index_select(0, chosen)
        inputs.append((centred.view(len(part.target), len(units), width, -1) * used).flatten(2))
    values, outputs = torch.cat(inputs), torch.cat(logits)
    target = torch.cat([part.target for part in judge.parts])
    expected = torch.cat(expectations) if expectations else None
    if like is not None:
        return replace(like, inputs=values.div_(like.deviation), target=target, expected=expected)
    deviation = values.std().clamp_min(1e-12)
    flat = outputs.unsqueeze(1) if outputs.dim() == 1 else outputs
    spread = flat.std(dim=0, correction=0).clamp_min(1e-6)
    return Cache(values.div_(deviation), target, deviation, flat.mean(dim=0), spread, outputs.dim() == 1, expected)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How long a reader is trained: on a number of rows, but not on all rows too rarely or on few too often.

    Attributes:
        rows: rows to see, counting repetitions.
        fewest_passes: passes over all rows at least, where there are many.
        most_passes: passes over all rows at most, where there are few.
    """

    rows: int
    fewest_passes: float
    most_passes: float

    def steps(self, rows: int) -> int:
        """Batches to train on where there are ``rows`` rows."""
        seen = min(max(self.rows, self.fewest_passes * rows), self.most_passes * rows)
        return max(round(seen / batch_size(rows)), 1)


def batch_size(rows: int) -> int:
    """Rows of a batch, a power of two or all there are: few rows take smaller batches, for a training needs steps."""
    wanted = 2 ** round(math.log2(max(rows / _BATCHES_PER_PASS, 1)))
    return min(max(wanted, _SMALLEST_BATCH), _LARGEST_BATCH, rows)


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
    trust: float,
) -> None:
    """Trains on random subsets; half of the groups of rows see all units, the others ``smallest`` to all of them.

    Args:
        reader: changed in place.
        cache: rows to train on.
        loss: per-row loss.
        steps: batches to train on, of ``batch_size`` rows.
        fixed: (k,) bool, units that are always open.
        smallest: fewest open units.
        n_masks: subsets per batch.
        random: order of rows and subsets.
        trust: share of the model's expectations in the loss; the labels have the rest, or all where it has none.
    """
    trust = trust if cache.expected is not None else 0.0
    rows, units = cache.inputs.shape[:2]
    device = cache.inputs.device
    optimizer = torch.optim.Adam(reader.parameters(), lr=_LEARNING_RATE, weight_decay=1e-5)
    order = torch.as_tensor(random.permutation(rows), device=device)
    batches = order.split(batch_size(rows))
    average = WeightAverage(reader.parameters(), decay=_DECAY)
    for step in range(steps):
        index = batches[step % len(batches)]
        sizes = np.full(n_masks, units)
        sizes[1::2] = random.integers(smallest, units + 1, size=len(sizes[1::2]))
        ranks = (random.random((n_masks, units)) - 2.0 * fixed).argsort(axis=1).argsort(axis=1)
        gates = torch.as_tensor((ranks < sizes[:, None]).astype(np.float32), device=device)
        logits = reader(cache.inputs.index_select(0, index), gates_of_rows(gates, len(index)))
        value = (1 - trust) * loss(logits, cache.target.index_select(0, index)).mean()
        if cache.expected is not None and trust > 0:
            value = value + trust * loss(logits, cache.expected.index_select(0, index)).mean()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        average.update()
    average.swap()
