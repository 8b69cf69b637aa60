"""Effect of letting the allocator keep freed memory: training steps of a wide layer, with and without.

python benchmarks/audit/memory.py [--csv FILE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

ROOT = Path(__file__).parents[2]
STEP = """
import resource, sys, time, torch
from feature_audit.engine import tune_process
if sys.argv[1] == "kept": tune_process(1)
torch.set_num_threads(1); torch.manual_seed(0)
rows, units, width, hidden = 1024, 200, 4, 64
inputs, entry = torch.randn(units, rows, width), torch.randn(units, width, hidden)
started = time.perf_counter()
for _ in range(60):
    contributions = torch.bmm(inputs, entry)
    torch.relu(contributions.sum(0) - contributions).mean()
spent = resource.getrusage(resource.RUSAGE_SELF)
print(1000 * (time.perf_counter() - started) / 60, spent.ru_minflt, spent.ru_maxrss / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    csv_option(parser)
    shown = Table(["freed memory", "ms per step", "page faults", "peak MiB"], parser.parse_args().csv)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT / 'selectors'}"}
    for policy in ("returned", "kept"):
        command = [sys.executable, "-c", STEP, policy]
        printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        milliseconds, faults, peak = map(float, printed.split())
        shown.add(
            [policy, f"{milliseconds:.0f}", f"{faults:,.0f}", f"{peak:.0f}"],
            {"freed_memory": policy, "ms_per_step": milliseconds, "page_faults": int(faults), "peak_mib": peak},
        )


if __name__ == "__main__":
    main()
