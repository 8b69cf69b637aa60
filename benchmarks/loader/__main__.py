"""Cost of reading, encoding and one epoch, compared with common alternatives on the same file. Markdown on stdout.

    python benchmarks/loader --rows 1000000 [--repeats 3] [--memory-rows 10000000]
        [--fuxictr-python VENV/bin/python] [--work DIR] [--csv FILE]

Contenders train the same model on the same batches (``model.py``, ``contenders.py``), each in a separate process:

- ``ours``: the load stage's two passes (count, encode) into the training store, and the audits' trainer with weight
  averaging and validation;
- ``ours_checked``: the same with everything else that the load stage does (leaks, duplicates, drift, validation);
- ``dataloader``: a pandas frame, encoded with pandas, in a torch ``DataLoader``;
- ``fuxictr``: FuxiCTR's processor, Parquet loader and training step. It needs ``pip install fuxictr==2.3.10``; give the
  Python of an environment that has it.

Rows per second are all rows of the file divided by the seconds for reading, encoding and one epoch; imports are not
measured, and seconds are medians over the rounds. Below 200,000 rows our trainer runs several epochs, so use more. CPU
seconds are reported as well, because load affects them less; ``batches only`` is a pass without training.
``--memory-rows`` adds the peak memory of a whole load stage and two passes over the batches of a file of that length.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from generate import write

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

HERE = Path(__file__).parent
PATHS = os.pathsep.join(str(HERE.parents[1] / name) for name in ("pipeline", "selectors"))
HEAD = (
    "contender", "read and encode s", "epoch s", "rows per s", "ours is faster by", "CPU s", "ours takes less CPU by",
    "batches only CPU s", "peak MiB",
)  # fmt: skip


def run(python: str, script: str, *words: str) -> dict[str, Any]:
    """A script's last line of output, which is JSON."""
    environment = {**os.environ, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1", "RAY_DEDUP_LOGS": "0"}
    done = subprocess.run(
        [python, str(HERE / script), *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{script} {' '.join(words)} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def contend(name: str, python: str, log: Path) -> dict[str, Any]:
    """Run one contender and remove its working files; its result."""
    work = Path(tempfile.mkdtemp(prefix=f"{name}_", dir=log.parent))
    try:
        return run(python, "contenders.py", name, str(log), str(work))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def median(results: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over the rounds, part by part."""
    shown = {}
    for part in ("read and encode", "epoch", "batches only"):
        for place, clock in enumerate(("wall", "cpu")):
            shown[f"{part}, {clock}"] = statistics.median(result["parts"][part][place] for result in results)
    for clock in ("wall", "cpu"):
        shown[clock] = shown[f"read and encode, {clock}"] + shown[f"epoch, {clock}"]
    return {**shown, "peak": max(result["peak_mib"] for result in results)}


def cells(name: str, one: dict[str, float], best: dict[str, float], rows: int) -> list[str]:
    """A row of the table."""
    return [
        name, f"{one['read and encode, wall']:.1f}", f"{one['epoch, wall']:.1f}", f"{rows / one['wall']:,.0f}",
        f"{one['wall'] / best['wall']:.1f}x", f"{one['cpu']:.1f}", f"{one['cpu'] / best['cpu']:.1f}x",
        f"{one['batches only, cpu']:.1f}", f"{one['peak']:,.0f}",
    ]  # fmt: skip


def figures(name: str, rows: int, rounds: list[dict[str, Any]]) -> list[dict[str, object]]:
    """Lines of the file, one per round and part."""
    return [
        {
            "contender": name, "rows": rows, "round": number, "part": part, "wall": wall, "cpu": cpu,
            "peak_mib": result["peak_mib"],
        }
        for number, result in enumerate(rounds)
        for part, (wall, cpu) in result["parts"].items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory-rows", type=int, default=0)
    parser.add_argument("--fuxictr-python", default=None, metavar="PYTHON")
    csv_option(parser)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "loader_benchmark")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    log = write(given.work / f"log_{given.rows}.parquet", given.rows)

    names = ["ours", "ours_checked", "dataloader", *(["fuxictr"] if given.fuxictr_python else [])]
    pythons = {"fuxictr": given.fuxictr_python}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(given.repeats):  # alternating, so that other work on the machine affects all of them
        for name in names:
            rounds[name].append(contend(name, pythons.get(name) or sys.executable, log))
    results = {name: median(runs) for name, runs in rounds.items()}
    shown = Table(HEAD, given.csv)
    for name, result in results.items():
        shown.add(cells(name, result, results["ours"], given.rows), *figures(name, given.rows, rounds[name]))

    speed = run(sys.executable, "store.py", str(log))
    print()
    shown = Table(["encoding against Polars' scan-and-aggregate", "encode s", "Polars s", "speed"], given.csv)
    for clock in ("wall", "cpu"):
        encode, aggregate = speed[clock]["encode"], speed[clock]["aggregate"]
        both = {"encode": encode, "aggregate with Polars": aggregate}
        shown.add(
            [clock, f"{encode:.2f}", f"{aggregate:.2f}", f"{aggregate / encode:.2f}x"],
            *({"contender": part, "rows": given.rows, "part": "encode", clock: value} for part, value in both.items()),
        )

    if given.memory_rows:
        large = write(given.work / f"log_{given.memory_rows}.parquet", given.memory_rows)
        result = contend("ours_checked", sys.executable, large)
        seconds = result["parts"]["read and encode"][0]
        size = large.stat().st_size / 2**20
        print()
        shown = Table(["rows", "file MiB", "load stage s", "peak MiB"], given.csv)
        shown.add(
            [f"{given.memory_rows:,}", f"{size:,.0f}", f"{seconds:.0f}", f"{result['peak_mib']:,.0f}"],
            *figures("ours_checked", given.memory_rows, [result]),
        )


if __name__ == "__main__":
    main()
