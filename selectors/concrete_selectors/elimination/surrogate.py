"""The surrogate: a small network on the candidates' cached embeddings that answers "what if this one goes too?".

A team's own model of thousands of inputs is too expensive for thousands of such questions. The surrogate is a
perceptron on the candidates' embeddings as the trained network left them, centred so that a closed gate (which feeds
the field's mean) is a zero. It learns on random subsets of the candidates and so fits all of them. Its first layer is
linear: the loss without a candidate takes one subtraction, and candidates that are gone are cut away exactly.

It is taught by the labels and by the trained model (knowledge distillation, Hinton et al. 2015): what the model expects
of a row is averaged over many rows like it, while a label is one draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from concrete_selectors.gates.evaluation import GatedEvaluator
from concrete_selectors.gates.gating import gates_of_rows
from concrete_selectors.protocols import Loss
from concrete_selectors.weight_average import WeightAverage

#: Widths of the two hidden layers.
HIDDEN = (64, 32)
#: Most rows of a batch, and its largest share of all rows: few rows are not passed over more than about 20 times.
BATCH, BATCH_SHARE = 256, 1 / 16
LEARNING_RATE = 2e-3
#: Slowest decay of the weight average that a training ends with.
EMA_DECAY = 0.99
#: Rows of the network's own logits that set the range of the surrogate's.
_RANGE_ROWS = 4096


@dataclass(frozen=True)
class EmbeddingCache:
    """Rows as the surrogate sees them.

    Attributes:
        inputs: (R, k, w) float32, centred embeddings of k units over their common deviation; a unit of several
            features has w = features x d numbers, narrower ones are padded with zeros.
        target: (R,).
        deviation: (), what the centred embeddings were divided by.
        logit_mean, logit_std: (C,), of the network's own logits.
        one_logit: the network gives (B,) and not (B, C).
        expected: what the trained model expects of the rows, as the loss takes targets; None = it cannot be asked.
    """

    inputs: Tensor
    target: Tensor
    deviation: Tensor
    logit_mean: Tensor
    logit_std: Tensor
    one_logit: bool
    expected: Tensor | None = None

    def units(self, keep: Tensor) -> EmbeddingCache:
        """Some of the units (int64)."""
        return replace(self, inputs=self.inputs[:, keep])


class Surrogate(nn.Module):
    """Perceptron whose first layer adds up one contribution per unit.

    Args:
        cache: rows it will see; sets the sizes and the range of the outputs.
        generator: of the initial weights, on the CPU.
    """

    def __init__(self, cache: EmbeddingCache, *, generator: torch.Generator) -> None:
        super().__init__()
        _, units, width = cache.inputs.shape
        outputs, (first, second) = len(cache.logit_mean), HIDDEN

        def uniform(*shape: int, inputs: int) -> nn.Parameter:
            return nn.Parameter(inputs**-0.5 * (2 * torch.rand(*shape, generator=generator) - 1))

        self.entry = uniform(units, width, first, inputs=units * width)
        self.bias = uniform(first, inputs=units * width)
        self.middle, self.middle_bias = uniform(second, first, inputs=first), uniform(second, inputs=first)
        self.out, self.out_bias = uniform(outputs, second, inputs=second), uniform(outputs, inputs=second)
        self.register_buffer("logit_mean", cache.logit_mean)
        self.register_buffer("logit_std", cache.logit_std)
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
        """Logits (B,) or (B, C) from the first layer's sum (B, h)."""
        hidden = torch.relu(torch.addmm(self.middle_bias, torch.relu(entered), self.middle.T))
        logits = torch.addmm(self.out_bias, hidden, self.out.T)
        logits = logits * self.get_buffer("logit_std") + self.get_buffer("logit_mean")
        return logits.squeeze(-1) if self.one_logit else logits

    def cut(self, keep: Tensor) -> None:
        """Removes all other units; exact, since a closed unit contributes zero."""
        self.entry = nn.Parameter(self.entry.detach()[keep])


def cache_rows(evaluator: GatedEvaluator, units: np.ndarray, *, like: EmbeddingCache | None = None) -> EmbeddingCache:
    """Embeds the evaluator's rows once and keeps what the given units hold, scaled ``like`` another cache."""
    network, means = evaluator.network, evaluator.network.field_means()
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
    expected: list[Tensor] = []
    for part, embedded in evaluator.embedded():
        if network.expected is not None:
            expected.append(network.expected(part.batch, part.index))
        if sum(map(len, logits)) < _RANGE_ROWS:
            logits.append(evaluator.logits(embedded, gates))
        chosen = index.flatten()
        centred = embedded.index_select(1, chosen) - means.index_select(0, chosen)
        inputs.append((centred.view(len(part.target), len(units), width, -1) * used).flatten(2))
    values, outputs = torch.cat(inputs), torch.cat(logits)
    target = torch.cat([part.target for part in evaluator.parts])
    taught = torch.cat(expected) if expected else None
    if like is not None:
        return replace(like, inputs=values.div_(like.deviation), target=target, expected=taught)
    deviation = values.std().clamp_min(1e-12)
    flat = outputs.unsqueeze(1) if outputs.dim() == 1 else outputs
    spread = flat.std(dim=0, correction=0).clamp_min(1e-6)
    return EmbeddingCache(
        values.div_(deviation), target, deviation, flat.mean(dim=0), spread, outputs.dim() == 1, taught
    )


def batch_size(rows: int) -> int:
    """Rows of a batch of a surrogate's training on ``rows`` rows."""
    return min(BATCH, math.ceil(BATCH_SHARE * rows))


def fit_surrogate(
    surrogate: Surrogate,
    cache: EmbeddingCache,
    *,
    loss: Loss,
    steps: int,
    fixed: np.ndarray,
    smallest: int,
    n_masks: int,
    random: np.random.Generator,
    distillation: float,
) -> None:
    """Trains on random subsets; half of the groups of rows see all units, the others ``smallest`` to all of them.

    Args:
        surrogate: changed in place.
        cache: rows to train on.
        loss: per-row loss.
        steps: batches to train on.
        fixed: (k,) bool, units that are always open.
        smallest: fewest open units.
        n_masks: subsets per batch.
        random: order of rows and subsets.
        distillation: weight of the model's expectations in the loss; labels have the rest, or all without a model.
    """
    share = distillation if cache.expected is not None else 0.0
    rows, units = cache.inputs.shape[:2]
    device = cache.inputs.device
    optimizer = torch.optim.Adam(surrogate.parameters(), lr=LEARNING_RATE, weight_decay=1e-5)
    batches = torch.as_tensor(random.permutation(rows), device=device).split(batch_size(rows))
    average = WeightAverage(surrogate.parameters(), decay=EMA_DECAY)
    for step in range(steps):
        index = batches[step % len(batches)]
        sizes = np.full(n_masks, units)
        sizes[1::2] = random.integers(smallest, units + 1, size=len(sizes[1::2]))
        ranks = (random.random((n_masks, units)) - 2.0 * fixed).argsort(axis=1).argsort(axis=1)
        gates = torch.as_tensor((ranks < sizes[:, None]).astype(np.float32), device=device)
        logits = surrogate(cache.inputs.index_select(0, index), gates_of_rows(gates, len(index)))
        value = (1 - share) * loss(logits, cache.target.index_select(0, index)).mean()
        if cache.expected is not None and share > 0:
            value = value + share * loss(logits, cache.expected.index_select(0, index)).mean()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        average.update()
    average.swap()
