"""The surrogate: a small network on cached candidate embeddings that estimates the loss without a candidate.

Elimination needs thousands of loss estimates, and a large production model is too expensive for that. The surrogate is
a perceptron on the candidates' embeddings from the trained network, centred so that a closed gate (which feeds the
mean) is zero. Its first layer is linear. The loss without a candidate therefore takes one subtraction, and removed
candidates can be cut out of the weights exactly.

It is trained on the labels and on the trained model's predictions (knowledge distillation, Hinton et al. 2015): a
prediction is an average over many similar rows, while a label is a single draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from concrete_selectors.gates.evaluation import GatedEvaluator
from concrete_selectors.gates.training import GatedNetwork
from concrete_selectors.protocols import Loss
from concrete_selectors.row_weights import weighted
from concrete_selectors.segments import Segments
from concrete_selectors.weight_average import WeightAverage

#: Maximum memory for the cached embeddings of one split.
CACHE_BYTES = 512 * 2**20
#: Widths of the two hidden layers.
HIDDEN = (64, 32)
#: Maximum rows of a batch, and its maximum share of all rows, so that few rows are not repeated more than about 20
#: times.
BATCH, BATCH_SHARE = 256, 1 / 16
LEARNING_RATE = 2e-3
#: Final decay of the weight average.
EMA_DECAY = 0.99


@dataclass(frozen=True)
class EmbeddingCache:
    """Rows in the form that the surrogate takes.

    Attributes:
        inputs: (R, D) float32, centred embeddings of k groups, group after group, divided by their common deviation.
        segments: position of each of the k groups; its width is the sum over its features.
        target: (R,).
        deviation: (), the divisor of the centred embeddings.
        logit_mean, logit_std: (C,), mean and deviation of the network's logits.
        one_logit: True if the network returns (B,) rather than (B, C).
        taught: the teacher's predictions, in the form of targets of the loss; None = no teacher.
        weight: (R,) row weights in a loss; None = 1 each.
    """

    inputs: Tensor
    segments: Segments
    target: Tensor
    deviation: Tensor
    logit_mean: Tensor
    logit_std: Tensor
    one_logit: bool
    taught: Tensor | None = None
    weight: Tensor | None = None

    def groups(self, keep: np.ndarray) -> EmbeddingCache:
        """Return the cache of a subset of the groups (int64)."""
        columns = torch.as_tensor(self.segments.columns(keep), device=self.inputs.device)
        return replace(self, inputs=self.inputs[:, columns], segments=Segments(self.segments.widths[keep]))


class Surrogate(nn.Module):
    """Perceptron whose first layer sums one contribution per group.

    Args:
        cache: rows to train on; sets the sizes and the scale of the outputs.
        seed: seed of the initial weights.
    """

    def __init__(self, cache: EmbeddingCache, *, seed: int) -> None:
        super().__init__()
        first, second = HIDDEN
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            entry = nn.Linear(cache.segments.total, first)
            self._head = nn.Sequential(nn.ReLU(), nn.Linear(first, second), nn.ReLU())
            self.out = nn.Linear(second, len(cache.logit_mean))
        self.entry = nn.Parameter(entry.weight.detach().T.contiguous())
        self.bias = entry.bias
        self.register_buffer("logit_mean", cache.logit_mean)
        self.register_buffer("logit_std", cache.logit_std)
        self.one_logit = cache.one_logit
        self.to(cache.inputs.device)

    @property
    def n_weights(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def n_head_weights(self) -> int:
        """Number of weights behind the first layer."""
        return self.n_weights - self.entry.numel()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B,) or (B, C) of rows (B, D)."""
        return self.head(self.enter(inputs))

    def enter(self, inputs: Tensor) -> Tensor:
        """Sum over all groups in the first layer, (B, h), for rows (B, D)."""
        return torch.addmm(self.bias, inputs, self.entry)

    def head(self, entered: Tensor) -> Tensor:
        """Logits (B,) or (B, C) from the first layer's sum (B, h)."""
        logits: Tensor = self.out(self._head(entered))
        logits = logits * self.get_buffer("logit_std") + self.get_buffer("logit_mean")
        return logits.squeeze(-1) if self.one_logit else logits

    def cut(self, keep: Tensor) -> None:
        """Remove all columns except ``keep`` (int64); exact, because a closed group contributes zero."""
        self.entry = nn.Parameter(self.entry.detach()[keep])


def most_rows(network: GatedNetwork, groups: np.ndarray) -> int:
    """Number of rows whose embeddings of the given groups fit into memory."""
    width = len(network.flat.segments.columns(network.groups.features(groups)))
    return max(1, CACHE_BYTES // (4 * width))


def cache_rows(evaluator: GatedEvaluator, groups: np.ndarray, *, like: EmbeddingCache | None = None) -> EmbeddingCache:
    """Embed the evaluator's rows once and keep the given groups, scaled ``like`` another cache if given."""
    network, means, fields = evaluator.network, evaluator.network.field_means(), evaluator.network.flat.segments
    members = [fields.columns(network.groups.features([group])) for group in groups]
    columns = torch.as_tensor(np.concatenate(members), device=network.device)
    gates = network.groups.feature_gates(network.groups.mask(groups, network.device))
    inputs: list[Tensor] = []
    taught: list[Tensor] = []
    weights = [network.weights(part.batch, part.index) for part in evaluator.slices]
    logits: Tensor | None = None  # from the first slice only: they set a scale
    for part, embedded in evaluator.embedded():
        if network.teacher is not None:
            taught.append(network.teacher(part.batch, part.index))
        if like is None and logits is None:
            logits = evaluator.logits(embedded, gates)
        inputs.append(embedded.index_select(1, columns) - means.index_select(0, columns))
    values, target = torch.cat(inputs), torch.cat([part.target for part in evaluator.slices])
    predictions = torch.cat(taught) if taught else None
    weight = None if network.weight is None else torch.cat([part for part in weights if part is not None])
    if like is not None:
        return replace(like, inputs=values.div_(like.deviation), target=target, taught=predictions, weight=weight)
    assert logits is not None  # there is at least one training row
    deviation = values.std(correction=0).clamp_min(1e-12)
    flat = logits.unsqueeze(1) if logits.dim() == 1 else logits
    spread = flat.std(dim=0, correction=0).clamp_min(1e-6)
    return EmbeddingCache(
        values.div_(deviation),
        Segments([len(part) for part in members]),
        target,
        deviation,
        flat.mean(dim=0),
        spread,
        logits.dim() == 1,
        predictions,
        weight,
    )


def batch_size(rows: int) -> int:
    """Batch size of a surrogate's training on ``rows`` rows."""
    return min(BATCH, math.ceil(BATCH_SHARE * rows))


def fit_surrogate(
    surrogate: Surrogate,
    cache: EmbeddingCache,
    *,
    loss: Loss,
    steps: int,
    fixed: np.ndarray,
    smallest: float,
    distillation: float,
    generator: torch.Generator,
) -> None:
    """Train a surrogate on cached rows behind random gates, so that it fits the subsets it will be evaluated on.

    Args:
        surrogate: changed in place.
        cache: rows to train on.
        loss: per-row loss.
        steps: batches to train on.
        fixed: (k,) bool, groups that are always open.
        smallest: share of the groups that are open in the smallest subsets.
        distillation: weight of the teacher's predictions in the loss; labels get the rest, or all without a teacher.
        generator: for the order of rows and the gates; on the cache's device.
    """
    share = distillation if cache.taught is not None else 0.0
    rows, device = len(cache.target), cache.inputs.device
    always = torch.as_tensor(fixed, device=device)
    optimizer = torch.optim.Adam(surrogate.parameters(), lr=LEARNING_RATE)
    batches = torch.randperm(rows, generator=generator, device=device).split(batch_size(rows))
    average = WeightAverage(surrogate.parameters(), decay=EMA_DECAY)
    for step in range(steps):
        index = batches[step % len(batches)]
        gates = random_gates(len(index), always, smallest=smallest, generator=generator)
        logits = surrogate(cache.segments.scale(cache.inputs.index_select(0, index), gates))
        weight = None if cache.weight is None else cache.weight.index_select(0, index)
        value = (1 - share) * weighted(loss(logits, cache.target.index_select(0, index)), weight).mean()
        if cache.taught is not None and share > 0:
            value = value + share * weighted(loss(logits, cache.taught.index_select(0, index)), weight).mean()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        average.step(optimizer)
    average.swap()


def random_gates(rows: int, always: Tensor, *, smallest: float, generator: torch.Generator) -> Tensor:
    """(B, k) bool: every other row sees all groups, the others a share of them, uniform from ``smallest`` to 1."""
    device = always.device
    shares = smallest + (1 - smallest) * torch.rand(rows, 1, generator=generator, device=device)
    shares[::2] = 1.0
    return (torch.rand(rows, len(always), generator=generator, device=device) < shares) | always
