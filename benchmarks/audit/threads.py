"""Number of torch threads and their waiting policy: seconds per training step, with and without a second process.

python benchmarks/audit/threads.py [--csv FILE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

STEP = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[1])); torch.manual_seed(0)
fields, dim, rows = 400, 8, 1024
table = torch.nn.Embedding(fields * 50, dim)
head = torch.nn.Sequential(
    torch.nn.Linear(fields * dim, 256), torch.nn.ReLU(),
    torch.nn.Linear(256, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1),
)
optimiser = torch.optim.AdamW([*table.parameters(), *head.parameters()], foreach=True)
codes = torch.randint(0, 50, (rows, fields)) + torch.arange(fields) * 50
started = time.perf_counter()
for step in range(25):
    if step == 5: started = time.perf_counter()
    optimiser.zero_grad(); head(table(codes).flatten(1)).square().mean().backward(); optimiser.step()
print((time.perf_counter() - started) / 20)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    csv_option(parser)
    head = "threads", "waiting", "one process, ms per step", "two processes, ms per step"
    shown = Table(head, parser.parse_args().csv)
    for threads, policy in ((1, "PASSIVE"), (2, "ACTIVE"), (2, "PASSIVE")):
        alone, shared = (1000 * seconds(threads, policy, processes=number) for number in (1, 2))
        shown.add(
            [threads, policy.lower(), f"{alone:.0f}", f"{shared:.0f}"],
            {"threads": threads, "waiting": policy.lower(), "one_process_ms": alone, "two_processes_ms": shared},
        )


def seconds(threads: int, policy: str, *, processes: int) -> float:
    """Seconds per step of the slowest process."""
    environment = {**os.environ, "OMP_WAIT_POLICY": policy, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", STEP, str(threads)]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return max(float(process.communicate()[0]) for process in running)


if __name__ == "__main__":
    main()
