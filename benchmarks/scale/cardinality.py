"""Cost of a step if a feature has millions of codes: updates of whole tables, or only of the batch's rows.

    PYTHONPATH=pipeline:selectors python benchmarks/scale/cardinality.py [--codes 1000,5000000] [--ids 1] [--csv FILE]

Both methods alternate in one process. ``dense`` is the earlier one: gradients, optimiser and weight average process
whole tables, as is still done for smaller features. ``default`` is the audit's method. A step is the time between two
progress calls of ``train`` and of the concrete phase of ``fit_path``, as a median. The table has 20 numbers, 10
categories of 50 codes and ``--ids`` ids, whose codes are drawn uniformly, the worst case for caches. One thread,
milliseconds of CPU time. Use only ``--ways default`` to measure its memory.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from concrete_selectors import PathSettings, SelectionTask, fit_path
from feature_audit.batch import Batch
from feature_audit.config.sections import TrainingConfig
from feature_audit.models import build_model, row_loss, train
from feature_audit.models.zoo import embedding
from feature_audit.schema import Field, ModelSchema

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

WAYS = ("dense", "default")
ROWS_PER_LOOKUP = embedding._ROWS_PER_LOOKUP
ROWS, BATCH, STEPS = 80 * 1024, 1024, 45


class Enough(Exception):
    """Raised when enough steps were measured."""


class Generated:
    """Random rows, the same in every epoch, with the interface of the training store."""

    def __init__(self, codes: int, ids: int) -> None:
        draw = torch.Generator().manual_seed(0)
        fields = [*(Field(f"number_{n}", "numeric", 48) for n in range(20))]
        fields += [Field(f"category_{n}", "code", 50) for n in range(10)]
        fields += [Field(f"id_{n}", "code", codes) for n in range(ids)]
        self.schema = ModelSchema(tuple(fields), "binary")
        self.numeric = torch.rand(ROWS, 20, generator=draw) * 47
        small = torch.randint(0, 50, (ROWS, 10), generator=draw)
        self.codes = torch.cat([small, torch.randint(0, codes, (ROWS, ids), generator=draw)], dim=1)
        self.labels = (self.numeric[:, 0] + 10 * torch.randn(ROWS, generator=draw) > 24).float()

    def rows(self, split: str) -> int:
        return ROWS if split == "train" else BATCH

    def target(self, split: str) -> np.ndarray:
        return self.labels[: self.rows(split)].numpy()

    def weight(self, split: str) -> None:
        """All rows count alike."""

    def batches(
        self, split: str, size: int, *, seed: int | None = None, schema: ModelSchema | None = None
    ) -> Iterator[Batch]:
        for start in range(0, self.rows(split), size):
            part = slice(start, start + size)
            yield Batch(self.numeric[part], self.codes[part], (), (), self.labels[part])


def one(way: str, codes: int, ids: int) -> tuple[float, float]:
    """Milliseconds per training step and per selection step."""
    embedding._ROWS_PER_LOOKUP = math.inf if way == "dense" else ROWS_PER_LOOKUP  # type: ignore[assignment]
    store, times = Generated(codes, ids), list[float]()

    def watch(_: dict) -> None:
        times.append(time.process_time())
        if len(times) == STEPS:
            raise Enough

    model = build_model("dcn_v2", store.schema, embedding_dim=4, params={}, seed=0)
    config = TrainingConfig(max_epochs=1, batch_size=BATCH)
    with suppress(Enough):
        train(model, store, store.schema, config=config, task="binary", seed=0, device="cpu", progress=watch)
    trained = median_gap(times)
    task = SelectionTask(
        model,
        lambda epoch: ((batch, batch.target) for batch in store.batches("train", BATCH)),
        lambda epoch: ((batch, batch.target) for batch in store.batches("validation", BATCH)),
        row_loss("binary"),
        steps_per_epoch=80,
    )
    times.clear()
    with suppress(Enough):
        fit_path(task, PathSettings(k_max=10, k_min=10, epochs=1.0), progress=watch)
    return trained, median_gap(times)


def median_gap(times: list[float]) -> float:
    return 1000 * float(np.median([later - earlier for earlier, later in pairwise(times[10:])]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", default="1000,100000,5000000")
    parser.add_argument("--ids", type=int, default=1, help="features with that many codes each")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--rounds", type=int, default=3)
    csv_option(parser)
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes, ways = [int(part) for part in given.codes.split(",")], given.ways.split(",")
    found: dict[tuple[str, int], list[tuple[float, float]]] = {(way, size): [] for size in sizes for way in ways}
    for _ in range(given.rounds):
        for (way, size), measured in found.items():
            measured.append(one(way, size, given.ids))
    middle = {case: np.median(values, axis=0) for case, values in found.items()}
    shown = Table(["codes", "way", "ms per training step", "ms per selection step"], given.csv)
    for (way, size), (training, selection) in middle.items():
        shown.add(
            [f"{size:,}", way, f"{training:.1f}", f"{selection:.1f}"],
            *(
                {
                    "ids": given.ids, "codes": size, "way": way, "round": number,
                    "training_step_ms": one[0], "selection_step_ms": one[1],
                }
                for number, one in enumerate(found[way, size])
            ),
        )  # fmt: skip
    for way in ways:
        ratios = middle[way, sizes[-1]] / middle[way, sizes[0]]
        print(f"{way}, {sizes[-1]:,} : {sizes[0]:,} codes: training {ratios[0]:.2f}, selection {ratios[1]:.2f}")
    print(f"peak of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
