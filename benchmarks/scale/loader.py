"""Cost of a batch before the model's arithmetic, by number of features: before and after, in one run.

    python benchmarks/scale/loader.py [100 1000 5000 10000] [--csv FILE]

``before`` copies the cells of a chunk line by line and run by run, then transposes and shuffles the whole chunk; its
files contain one line after the other. ``after`` is the current method of the store. The script checks that both give
the same batches of 1,024 rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "pipeline"), str(ROOT / "selectors")]

from feature_audit.data import Store  # noqa: E402
from feature_audit.data.store import reader  # noqa: E402
from feature_audit.data.store.cells import CellFile  # noqa: E402
from feature_audit.data.store.writer import places_of  # noqa: E402
from feature_audit.fitting.process import tune_process  # noqa: E402
from feature_audit.schema import Field  # noqa: E402

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option  # noqa: E402

BATCH, CELLS = 1024, 120_000_000


def write(folder: Path, features: int) -> Store:
    """Write a store of random positions, and a file with the same lines one after the other."""
    rows = CELLS // features
    fields = [Field(f"f{number}", "numeric", 50) for number in range(features)]
    (folder / "train").mkdir(parents=True)
    file = CellFile(folder / "train" / "numeric.bin", "float32", features, rows)
    rng = np.random.default_rng(0)
    with file.path.open("wb") as blocks, file.path.with_suffix(".lines").open("wb") as lines:
        for line in range(features):
            cells = rng.random(rows, dtype=np.float32) * 49
            file.write(blocks.fileno(), line, 0, cells)
            lines.write(cells.data)
    np.save(folder / "train" / "target.npy", np.zeros(rows, dtype=np.float32))
    layout = {
        "fields": [asdict(field) for field in fields], "task": "binary", "n_classes": 2, "places": places_of(fields),
        "rows": {"train": rows, "validation": 0, "test": 0}, "slices": {},
    }  # fmt: skip
    (folder / "layout.json").write_text(json.dumps(layout))
    return Store.open(folder)


def line_by_line(store: Store, seed: int) -> Iterator[torch.Tensor]:
    """Batches by the earlier method of the store."""
    features, rows = len(store.schema.fields), store.rows("train")
    path = store.directory / "train" / "numeric.lines"
    generator = np.random.default_rng(seed)
    left = torch.empty(0, features)
    chunk = max(BATCH, reader.CHUNK_BYTES // (4 * features + 8))
    for runs in store._runs(rows, chunk, BATCH, generator):
        mapped = np.memmap(path, dtype=np.float32, mode="r").reshape(features, rows)
        block = np.empty((features, sum(stop - start for start, stop in runs)), dtype=np.float32)
        done = 0
        for start, stop in runs:
            for line in range(features):
                block[line, done : done + stop - start] = mapped[line, start:stop]
            done += stop - start
        turned = torch.from_numpy(block).t().contiguous()[torch.from_numpy(generator.permutation(done))]
        turned = torch.cat((left, turned)) if len(left) else turned
        whole = len(turned) // BATCH * BATCH
        yield from (turned[start : start + BATCH] for start in range(0, whole, BATCH))
        left = turned[whole:].clone()
    if len(left):
        yield left


def in_blocks(store: Store, seed: int) -> Iterator[torch.Tensor]:
    """Batches by the current method of the store."""
    return (batch.numeric for batch in store.batches("train", BATCH, seed=seed))


def milliseconds(batches: Iterator[object]) -> tuple[float, float]:
    """CPU and wall time of a batch."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(1 for _ in batches)
    return 1000 * (time.process_time() - cpu) / count, 1000 * (time.perf_counter() - wall) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=int, nargs="*", default=[100, 1000, 5000, 10000])
    csv_option(parser)
    given = parser.parse_args()
    tune_process(1)
    head = "N", "before, ms CPU", "after, ms CPU", "faster by", "after, rows/s CPU", "wall, ms: before", "after"
    shown = Table(head, given.csv)
    for features in given.features:
        with tempfile.TemporaryDirectory() as folder:
            store = write(Path(folder) / "store", features)
            for one, other in zip(line_by_line(store, 1), in_blocks(store, 1), strict=True):
                assert torch.equal(one, other)
            rounds = [[milliseconds(way(store, seed)) for way in (line_by_line, in_blocks)] for seed in range(3)]
            before, after = (min(times) for times in zip(*rounds, strict=True))
            shown.add(
                [
                    f"{features:,}", f"{before[0]:.1f}", f"{after[0]:.1f}", f"{before[0] / after[0]:.1f}",
                    f"{1000 * BATCH / after[0]:,.0f}", f"{before[1]:.1f}", f"{after[1]:.1f}",
                ],
                {
                    "features": features, "before_cpu_ms": before[0], "after_cpu_ms": after[0],
                    "before_wall_ms": before[1], "after_wall_ms": after[1],
                },
            )  # fmt: skip


if __name__ == "__main__":
    main()
