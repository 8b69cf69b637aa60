"""CPU seconds and memory of one step of the concrete training, by the number of columns.

    python benchmarks/scale/steps.py 1000 5000 20000 [--csv FILE]

The network is small (a vector of four numbers per column, one hidden layer), so that the gates take most of a step.
It has 566 slots, like the first trial of an audit with `k: 200`. Each width runs in a separate process. Run it on two
versions alternately and compare ratios.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2] / "selectors"))

from concrete_selectors import PathSettings, SelectionTask, fit_path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

SLOTS, WIDTH, ROWS, STEPS = 566, 4, 114, 6


class Net(nn.Module):
    def __init__(self, columns: int) -> None:
        super().__init__()
        self.scale, self.shift = (nn.Parameter(torch.randn(columns, WIDTH)) for _ in range(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(columns * WIDTH, 64), nn.ReLU(), nn.Linear(64, 1))

    def embed(self, batch: Tensor) -> Tensor:
        return batch.unsqueeze(-1) * self.scale + self.shift

    def predict(self, embedded: Tensor) -> Tensor:
        return self.head(embedded).squeeze(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("columns", type=int, nargs="+")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    csv_option(parser)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.columns[0])))
        return
    shown = Table(["columns", "CPU s per step, median", "MiB above the start"], given.csv)
    for columns in given.columns:
        command = [sys.executable, __file__, str(columns), "--one"]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        cells = [f"{columns:,}", f"{found['cpu_seconds']:.3f}", f"{found['mib']:.0f}"]
        shown.add(cells, {"columns": columns, "slots": SLOTS, **found})


def measure(columns: int) -> dict[str, float]:
    """Median CPU seconds of a step, and peak MiB above the start."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = torch.randn(8, ROWS, columns)
    batches = [(one, (one[:, :5].sum(dim=1) > 0).float()) for one in rows]
    loss = nn.BCEWithLogitsLoss(reduction="none")
    task = SelectionTask(Net(columns), lambda _: batches, lambda _: batches, loss, steps_per_epoch=8)
    start, highest, marks = anonymous(), [0.0], []

    def watch() -> None:
        while True:
            highest[0] = max(highest[0], anonymous())
            time.sleep(0.02)

    class Enough(Exception):
        pass

    def on_step(state: dict[str, Any]) -> None:
        marks.append(time.process_time())
        if state["step"] == state["steps"]:  # of the concrete training, which comes first
            raise Enough

    threading.Thread(target=watch, daemon=True).start()
    with suppress(Enough):
        fit_path(task, PathSettings(k_max=SLOTS, epochs=0.01, fewest_steps=STEPS), progress=on_step)
    return {"cpu_seconds": float(np.median(np.diff(marks))), "mib": highest[0] - start}


def anonymous() -> float:
    """Anonymous memory of this process in MiB, that is without mapped files."""
    return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split(maxsplit=1)[0]) / 1024


if __name__ == "__main__":
    main()
