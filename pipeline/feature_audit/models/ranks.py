"""Data-parallel training: each rank, a process, computes a part of every batch, and all take the same step.

``DistributedDataParallel`` averages the gradients of the ranks, which equals the gradient of the whole batch only if
all parts have the same size. It also reduces whole code tables although a batch touches few rows, and requires that a
model is called through the wrapper's ``forward``. Here, gradients of summed losses are added and divided by the
batch's rows, which is right for any model and any parts, and only the touched rows of sparse gradients are exchanged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from concrete_selectors.lazy_adam import touched_rows
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.errors import AuditError

#: Seconds that a rank waits, after losing another, for the parent process (which knows the reason) to end it.
_ENDED_WITHIN = 20.0
#: Minimum number of rows in a part: batch normalisation cannot train on one.
_FEWEST_ROWS = 2

Result = TypeVar("Result")


class Ranks:
    """One rank's view of a training; created by ``joined``.

    Attributes:
        rank: number of this rank, from 0.
        size: number of ranks.
        place: device of this rank's model.
    """

    def __init__(self, rank: int, size: int, place: torch.device) -> None:
        self.rank, self.size, self.place = rank, size, place

    def seed(self, seed: int) -> int:
        """Seed of this rank's dropout: parts of a batch have independent noise. Rank 0 uses the training's seed."""
        return seed if self.rank == 0 else int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0])

    def part(self, batch: Batch) -> Batch:
        """This rank's rows of a batch: contiguous; rank 0 gets all of them if the batch is too small to divide."""
        rows = len(batch)
        if rows < _FEWEST_ROWS * self.size:
            bounds = (0, rows) if self.rank == 0 else (0, 0)
        else:
            bounds = (rows * self.rank // self.size, rows * (self.rank + 1) // self.size)
        return batch.rows(slice(*bounds))

    def align(self, module: nn.Module) -> None:
        """Broadcast rank 0's weights and buffers, such as running means of batch normalisation."""
        with torch.no_grad():
            for value in (*module.parameters(), *module.buffers()):
                held = value.contiguous()
                _collective(partial(dist.broadcast, held, src=0))
                value.copy_(held)

    def total(self, *values: float) -> list[float]:
        """Sums over the ranks, in float64."""
        summed = torch.tensor(values, dtype=torch.float64, device=self.place)
        _collective(lambda: dist.all_reduce(summed))
        return summed.tolist()

    def mean_gradients(self, weights: Sequence[Tensor], loss: Tensor, rows: int) -> float:
        """Combine the gradients of the parts' summed losses into those of the whole batch's mean loss.

        Args:
            weights: with dense, sparse or no gradients; changed in place, equally on every rank. A weight without a
                gradient on any rank is left without.
            loss: (), the part's sum of losses, detached.
            rows: number of rows in the part.

        Returns:
            Mean loss of the whole batch.
        """
        sparse = [touched_rows(weight) is not None for weight in weights]
        dense = [weight.grad is not None and not one for weight, one in zip(weights, sparse, strict=True)]
        known = torch.tensor([rows, *dense, *sparse], dtype=torch.float64)
        facts = torch.cat([loss.double().view(1), known.to(self.place, non_blocking=True)])
        _collective(lambda: dist.all_reduce(facts))
        total, count, *found = facts.tolist()
        kinds = list(zip(weights, found[: len(weights)], found[len(weights) :], strict=True))
        self._sum_dense([weight for weight, anywhere, _ in kinds if anywhere], count)
        for weight in [weight for weight, anywhere, lazy in kinds if lazy and not anywhere]:
            self._gather_sparse(weight, count)
        return total / count

    def _sum_dense(self, weights: Sequence[Tensor], rows: float) -> None:
        """Dense gradients, in one exchange; a gradient that is sparse only on some ranks is made dense."""
        if not weights:
            return
        parts = [torch.zeros_like(one) if one.grad is None else one.grad.to_dense() for one in weights]
        flat = torch.cat([part.flatten() for part in parts])
        _collective(lambda: dist.all_reduce(flat))
        flat.div_(rows)
        for weight, piece in zip(weights, flat.split([part.numel() for part in parts]), strict=True):
            weight.grad = piece.view_as(weight).to(weight.dtype)

    def _gather_sparse(self, weight: Tensor, rows: float) -> None:
        """Sparse gradients (R, d): concatenates the touched rows of all ranks."""
        touched, width = touched_rows(weight), weight.shape[1]
        values = weight.new_zeros(0, width) if touched is None else weight.grad.values()  # type: ignore[union-attr]
        touched = torch.zeros(0, dtype=torch.int64, device=weight.device) if touched is None else touched
        counts = [int(count) for count in self._gathered(torch.tensor([len(touched)], device=weight.device))]
        most = max(counts)
        padded = nn.functional.pad(values, (0, 0, 0, most - len(values)))
        everyones = self._gathered(nn.functional.pad(touched, (0, most - len(touched))))
        index = torch.cat([one[:count] for one, count in zip(everyones, counts, strict=True)])
        parts = [one[:count] for one, count in zip(self._gathered(padded), counts, strict=True)]
        shared = torch.cat(parts).div_(rows)
        weight.grad = torch.sparse_coo_tensor(index[None], shared, weight.shape, check_invariants=False).coalesce()

    def _gathered(self, mine: Tensor) -> list[Tensor]:
        found = [torch.empty_like(mine) for _ in range(self.size)]
        _collective(lambda: dist.all_gather(found, mine.contiguous()))
        return found


@contextmanager
def joined(rank: int, size: int, rendezvous: Path, place: torch.device) -> Iterator[Ranks]:
    """Context in which all ranks of one training are connected.

    Args:
        rank, size: number of this process, and number of processes.
        rendezvous: a rendezvous file for these ranks only; it must not exist before the first rank joins.
        place: device of this rank's model: its GPU, or the CPU.
    """
    backend = "nccl" if place.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{rendezvous}", rank=rank, world_size=size)
    yield Ranks(rank, size, place)
    dist.destroy_process_group()  # not after a failure: the others wait for this rank, and end with it


def _collective(exchange: Callable[[], Result]) -> Result:
    """Run a collective operation.

    Raises:
        AuditError: another rank was lost, and the parent process has not ended this one.
    """
    try:
        return exchange()
    except RuntimeError as error:
        time.sleep(_ENDED_WITHIN)
        raise AuditError(f"ranks: the connection to another rank was lost ({error})") from error
