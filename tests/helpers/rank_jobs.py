"""Jobs for the ranks of a training; worker processes import them from here."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from concrete_selectors.row_weights import weighted
from feature_audit.batch import Batch
from feature_audit.config.sections import TrainingConfig
from feature_audit.models import build_model, joined, predict, train
from feature_audit.models.ranks import Ranks
from feature_audit.models.zoo.heads import Mlp
from feature_audit.schema import ModelSchema
from memory_store import planted
from torch import Tensor, nn

#: Rows of a batch: unequal parts, parts of equal size, and batches that are too small to divide.
SIZES = (7, 64, 3, 1)
CPU = torch.device("cpu")


class Odd(nn.Module):
    """A model with gradients of every kind: dense, sparse, none, and some from the rows of one rank only."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(1_000, 3, sparse=True)
        self.last = nn.Embedding(50, 3, sparse=True)
        self.out = nn.Linear(3, 1)
        self.shift = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, codes: Tensor) -> Tensor:
        output = self.out(self.table(codes))[:, 0]
        rare = torch.nonzero(codes >= 900)[:, 0]
        if len(rare):
            output = output.double().index_add(0, rare, self.last(codes[rare] % 50).sum(dim=1) + self.shift)
        return output


def batch_of(size: int) -> Batch:
    """Codes, labels and weights; only the last rows have codes of 900 and more."""
    draw = np.random.default_rng(size)
    codes = np.sort(draw.integers(0, 900, size))
    codes[-1] = 950
    codes[: size // 3] = codes[0]  # repeated, so that rows of a sparse gradient are merged
    none, empty = torch.zeros(size, 0), ()
    labels, weight = draw.integers(0, 2, size).astype(np.float32), draw.uniform(0.2, 3, size).astype(np.float32)
    return Batch(
        none, torch.from_numpy(codes)[:, None], empty, empty, torch.from_numpy(labels), None, torch.from_numpy(weight)
    )


def sum_of_losses(model: Odd, batch: Batch) -> Tensor:
    """Weighted."""
    losses = nn.functional.binary_cross_entropy_with_logits(
        model(batch.codes[:, 0]).float(), batch.target, reduction="none"
    )
    return weighted(losses, batch.weight).sum()


def gradients_of(model: Odd) -> dict[str, Any]:
    """Dense arrays by name of the weight, None where there is no gradient, and the names of the sparse ones."""
    found = {name: weight.grad for name, weight in model.named_parameters()}
    dense = {name: None if one is None else one.to_dense().numpy() for name, one in found.items()}
    return {**dense, "sparse": sorted(name for name, one in found.items() if one is not None and one.is_sparse)}


def meet(folder: Path, rank: int, size: int) -> dict[str, Any]:
    """Run everything that the two ranks do together; returns the result of each."""
    with joined(rank, size, folder / "ranks", CPU) as ranks:
        return {
            "gradients": [gradients(ranks, size) for size in SIZES],
            "aligned": aligned(ranks),
            "total": ranks.total(1.5, rank),
            "trained": {task: trained(task, ranks) for task in ("binary", "regression")},
        }


def gradients(ranks: Ranks, size: int) -> tuple[float, dict[str, Any]]:
    """Mean loss of a batch, and its gradients."""
    model, part = Odd(), ranks.part(batch_of(size))
    loss = torch.zeros(())
    if len(part):
        loss = sum_of_losses(model, part)
        loss.backward()
    return ranks.mean_gradients(list(model.parameters()), loss.detach(), len(part)), gradients_of(model)


def aligned(ranks: Ranks) -> float:
    """A running mean that started as the rank's number."""
    norm = nn.BatchNorm1d(1)
    norm.running_mean.fill_(ranks.rank + 5)  # type: ignore[union-attr]
    ranks.align(norm)
    return float(norm.running_mean.sum())  # type: ignore[union-attr]


def trained(task: str, ranks: Ranks | None = None) -> tuple[np.ndarray, list[float], int]:
    """Validation scores, losses and number of rows of a training without dropout, with row weights."""
    store = planted(task, rows=1_501)  # type: ignore[arg-type]
    store.weights = np.random.default_rng(1).uniform(0.5, 2, 1_501)
    params = {"hidden": [16], "dropout": 0.0}
    model = build_model("mlp", store.schema, embedding_dim=4, params=params, seed=5 if ranks is None else ranks.rank)
    if ranks is None or ranks.rank == 0:
        model = build_model("mlp", store.schema, embedding_dim=4, params=params, seed=5)
    config = TrainingConfig(max_epochs=1)
    result = train(model, store, store.schema, config=config, task=task, seed=3, device="cpu", ranks=ranks)  # type: ignore[arg-type]
    scores = predict(result.model, store, "validation", store.schema, task=task, device="cpu")  # type: ignore[arg-type]
    return scores, [look["validation_loss"] for look in result.history], result.examples


class Failing(Mlp):
    """A shipped model whose second rank fails in its third step, by an exception or because it is killed."""

    def __init__(self, schema: ModelSchema, how: str) -> None:
        super().__init__(schema, embedding_dim=4, hidden=(8,))
        self.how, self.steps = how, 0

    def embed(self, batch: Batch) -> Tensor:
        self.steps += self.training
        if self.steps == 3 and dist.is_initialized() and dist.get_rank() == 1:
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError(f"a row that I cannot read, in a part of {len(batch)}")
        return super().embed(batch)


def failing(schema: ModelSchema, how: str) -> Failing:
    """A factory."""
    return Failing(schema, how=how)


class Noted(Mlp):
    """A shipped model; each rank makes the file ``trains_<rank>`` in its third step."""

    def __init__(self, schema: ModelSchema) -> None:
        super().__init__(schema, embedding_dim=4, hidden=(8,))
        self.steps = 0

    def embed(self, batch: Batch) -> Tensor:
        self.steps += self.training
        if self.steps == 3 and dist.is_initialized():
            Path(f"trains_{dist.get_rank()}").touch()
        return super().embed(batch)


def noted(schema: ModelSchema) -> Noted:
    """A factory."""
    return Noted(schema)
