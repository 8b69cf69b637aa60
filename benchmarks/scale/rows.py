"""Rows at scale: a generated log of 50 columns from load to verdict, with seconds and peak memory of every stage.

    python benchmarks/scale/rows.py 1000000 5000000 [--rows 300000] [--work DIR] [-- MORE OPTIONS OF THE AUDIT]

``--rows`` is the audit's own: train and validation rows that the selection reads. Memory is the resident memory of the
command and its children together, looked at five times a second. With two or more lengths the last table gives the
bytes that a further row takes in each stage, and the peak that this predicts for 100 million rows.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "loader"))
from generate import write  # noqa: E402

STAGES = ("load", "baseline", "select", "retrain", "parity")
AUDIT = (
    "--target clicked --time time --group user --profile quick --k 20 --model mlp --threads 1 --margin 0.005 "
    "--model_name scale"
)


class Meter(threading.Thread):
    """Peak memory of a process tree, by the stage that is under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self.process, self.stage = process, "load"
        self.peak: dict[str, int] = defaultdict(int)

    def run(self) -> None:
        """Look until the process ends."""
        while self.process.poll() is None:
            try:
                parent = psutil.Process(self.process.pid)
                used = sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True)))
                self.peak[self.stage] = max(self.peak[self.stage], used)
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.2)


def audit(log: Path, work: Path, options: list[str]) -> tuple[dict[str, float], dict[str, int], str]:
    """Seconds and peak bytes of each stage, and the line of the verdict."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("pipeline", "selectors")),
        "MLFLOW_TRACKING_URI": f"sqlite:///{work / 'mlflow.db'}",
        "OMP_NUM_THREADS": "1",
    }
    command = [
        sys.executable, "-m", "feature_audit", "run", "--data", str(log), "--work_dir", str(work / "audit"),
        *AUDIT.split(), *options,
    ]  # fmt: skip
    seconds: dict[str, float] = defaultdict(float)
    verdict = "no verdict"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    meter = Meter(process)
    meter.start()
    last = time.perf_counter()
    assert process.stdout is not None
    for line in process.stdout:
        print(f"    {line.rstrip()}", file=sys.stderr, flush=True)
        now = time.perf_counter()
        seconds[meter.stage] += now - last
        last = now
        begun = re.match(r"(\w+): running for the first time", line)
        if begun and begun[1] in STAGES:
            meter.stage = begun[1]
        if re.match(r"(pass|fail|inconclusive): ", line):
            verdict = line.strip()
    if process.wait():
        raise SystemExit(f"the audit of {log} failed with exit code {process.returncode}")
    return seconds, meter.peak, verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lengths", type=int, nargs="+")
    parser.add_argument("--rows", default="300000")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "rows_benchmark")
    given, options = parser.parse_known_args()
    given.work.mkdir(parents=True, exist_ok=True)
    options = [*[word for word in options if word != "--"], "--rows", given.rows]
    peaks: dict[int, dict[str, int]] = {}
    print("| rows | " + " | ".join(f"{stage} s | MiB" for stage in STAGES) + " | verdict |")
    print("|---:|" + "---:|" * 2 * len(STAGES) + "---|")
    for length in given.lengths:
        log = write(given.work / f"log_{length}.parquet", length)
        with tempfile.TemporaryDirectory(dir=given.work) as work:
            seconds, peaks[length], verdict = audit(log, Path(work), options)
        cells = (f"{seconds[stage]:.0f} | {peaks[length][stage] / 2**20:,.0f}" for stage in STAGES)
        print(f"| {length:,} | {' | '.join(cells)} | {verdict.split(':')[0]} |", flush=True)
    if len(peaks) > 1:
        *_, short, long = sorted(peaks)
        print("\n| stage | bytes per further row | GB at 100 million rows |\n|---|---:|---:|")
        for stage in STAGES:
            slope = (peaks[long][stage] - peaks[short][stage]) / (long - short)
            print(f"| {stage} | {slope:.0f} | {(peaks[long][stage] + slope * (100_000_000 - long)) / 1e9:.1f} |")


if __name__ == "__main__":
    main()
