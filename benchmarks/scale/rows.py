"""Growth with rows: a generated log of 50 columns from load to verdict, with seconds and peak memory of every stage.

    python benchmarks/scale/rows.py 1000000 5000000 [--rows 300000] [--work DIR] [--csv FILE] [-- OPTIONS OF THE AUDIT]

``--rows`` is the audit's key: train and validation rows that the selection reads. Memory is the sum over the command
and its children, sampled ten times a second, in two figures: *anonymous* memory must be available; *resident* memory
also counts pages of mapped files (the log, the store), which the kernel can evict. With two or more lengths, the last
table gives, by stage, the bytes of anonymous memory per additional row, the peak predicted for 100 million rows, and
the exponent of the CPU seconds. Linux only.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "loader"))
from generate import write  # noqa: E402
from usage import Usage, Used  # noqa: E402

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option  # noqa: E402

STAGES = ("load", "baseline", "select", "retrain", "parity")
AUDIT = (
    "--target clicked --time time --group user --profile quick --k 20 --model mlp --threads 1 --margin 0.005 "
    "--model_name scale"
)


def audit(log: Path, work: Path, options: list[str]) -> tuple[dict[str, float], dict[str, Used], str]:
    """Wall seconds and resources of each stage, and the line with the verdict."""
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
    verdict = "no verdict"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    usage = Usage(process.pid)
    seconds: dict[str, float] = defaultdict(float)
    used: dict[str, Used] = {}
    stage, last = "load", time.perf_counter()
    assert process.stdout is not None
    for line in process.stdout:
        print(f"    {line.rstrip()}", file=sys.stderr, flush=True)
        now = time.perf_counter()
        seconds[stage] += now - last
        last = now
        begun = re.match(r"(\w+): running for the first time", line)
        if begun and begun[1] in STAGES[1:]:
            used[stage] = usage.take()
            stage = begun[1]
        if re.match(r"(pass|fail|inconclusive): ", line):
            verdict = line.strip()
    used[stage] = usage.take()
    if process.wait():
        raise SystemExit(f"the audit of {log} failed with exit code {process.returncode}")
    return seconds, used, verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lengths", type=int, nargs="+")
    parser.add_argument("--rows", default="300000")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "rows_benchmark")
    csv_option(parser)
    given, options = parser.parse_known_args()
    given.work.mkdir(parents=True, exist_ok=True)
    options = [*[word for word in options if word != "--"], "--rows", given.rows]
    found: dict[int, dict[str, Used]] = {}
    print("Seconds are wall and CPU seconds, MiB those of anonymous and of resident memory.")
    head = [title for stage in STAGES for title in (f"{stage} s", "MiB")]
    shown = Table(["rows", *head, "verdict"], given.csv)
    for length in given.lengths:
        log = write(given.work / f"log_{length}.parquet", length)
        with tempfile.TemporaryDirectory(dir=given.work) as work:
            seconds, found[length], verdict = audit(log, Path(work), options)
        cells = []
        for stage in STAGES:
            one = found[length][stage]
            cells.append(f"{seconds[stage]:.0f}, {one.cpu:.0f}")
            cells.append(f"{one.anonymous / 2**20:,.0f}, {one.resident / 2**20:,.0f}")
        about = {"log_rows": length, "selection_rows": given.rows}
        stages = [figures(stage, seconds[stage], found[length][stage]) for stage in STAGES]
        shown.add([f"{length:,}", *cells, verdict.split(":")[0]], *({**about, **one} for one in stages))
    if len(found) > 1:
        *_, short, long = sorted(found)
        print_growth((short, found[short]), (long, found[long]))


def print_growth(short: tuple[int, dict[str, Used]], long: tuple[int, dict[str, Used]]) -> None:
    """Print bytes per additional row, the linear extrapolation to 100 million rows, and exponents of CPU seconds."""
    print()
    shown = Table(["stage", "bytes per further row", "GB at 100 million rows", "exponent of CPU seconds"])
    for stage in STAGES:
        less, more = short[1][stage], long[1][stage]
        slope = (more.anonymous - less.anonymous) / (long[0] - short[0])
        reached = (more.anonymous + slope * (100_000_000 - long[0])) / 1e9
        exponent = math.log(more.cpu / less.cpu) / math.log(long[0] / short[0])
        shown.add([stage, f"{slope:.0f}", f"{reached:.1f}", f"{exponent:.2f}"])


def figures(stage: str, seconds: float, used: Used) -> dict[str, object]:
    """A stage's line of the file."""
    cpu, anonymous, resident = used
    return {
        "stage": stage, "seconds": seconds, "cpu_seconds": cpu, "anonymous_bytes": anonymous,
        "resident_bytes": resident,
    }  # fmt: skip


if __name__ == "__main__":
    main()
