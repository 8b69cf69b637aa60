"""Speed-up by a GPU: GPU tests, audits on CPU and GPU, and a time profile of one training.

    python benchmarks/scale/card.py --out card                    # about six minutes on a machine with a GPU
    python benchmarks/scale/card.py --out cpu --device cpu --rows 20000 --columns 60       # the same without one

Writes ``card.json`` with everything that is printed, and ``trace.json`` of a profiled training for a trace viewer. The
audits are those of ``stages.py``: the demo, and a generated table, with profile `quick`. Rows per second are those of
the full model's training, read from its log line. Parts that need a GPU are skipped without one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from generate import write_table

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "pipeline"), str(ROOT / "selectors")]

from stages import STAGES, Measured, generated_audit, measure, named_audit  # noqa: E402

#: Calls that make the program wait for the card, or copy between it and the machine.
SYNCS = ("aten::_local_scalar_dense", "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaMemcpyAsync")


class Utilisation(threading.Thread):
    """The card's utilisation and memory, twice a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[float, float]] = []
        self.ended = threading.Event()

    def run(self) -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
        while not self.ended.wait(0.5):
            first = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
            busy, used = map(float, first.split(","))
            self.seen.append((busy, used))

    def figures(self) -> dict[str, float]:
        self.ended.set()
        self.join()
        busy, used = zip(*self.seen or [(0.0, 0.0)], strict=True)
        return {"mean_utilisation_percent": sum(busy) / len(busy), "peak_memory_mib": max(used)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("card"), help="folder of the results")
    parser.add_argument("--device", action="append", help="default: cpu, and cuda where there is one")
    parser.add_argument("--rows", type=int, default=2_000_000, help="of the generated table, on the card")
    parser.add_argument("--columns", type=int, default=200)
    parser.add_argument(
        "--cpu_share", type=int, default=10, help="on the CPU, the table has this many times fewer rows"
    )
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    devices = chosen.device or ["cuda", "cpu"][not torch.cuda.is_available() :]
    found: dict[str, Any] = {"torch": torch.__version__, "audits": []}
    if "cuda" in devices:
        found["card"] = torch.cuda.get_device_name()
        found["gpu_tests"] = gpu_tests()
    for device in devices:  # the most important first, because the machine may be withdrawn
        found[f"training_on_{device}"] = profiled(device, chosen.columns, chosen.out / f"trace_{device}.json")
    for device in devices:
        rows = chosen.rows // (1 if device == "cuda" else chosen.cpu_share)
        for audit in (named_audit("demo:200"), generated_audit(f"{rows}x{chosen.columns}")):
            found["audits"].append(audited(audit, device))
    (chosen.out / "card.json").write_text(json.dumps(found, indent=1))


def gpu_tests() -> str:
    """The last line of pytest."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu and not slow", "--timeout", "120"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()
    print(*said[-10:], sep="\n", flush=True)
    return said[-1] if said else "no output"


def audited(audit: Any, device: str) -> dict[str, Any]:
    """Seconds by stage, and how busy the card was."""
    watch = Utilisation() if device == "cuda" else None
    if watch:
        watch.start()
    result = measure(audit, ("--device", device, "--profile", "quick"), None)
    figures: dict[str, Any] = {"audit": audit.source, "device": device, **(watch.figures() if watch else {})}
    if isinstance(result, Measured):
        figures |= {"seconds": {stage: result.seconds[stage] for stage in STAGES}, "verdict": result.report["verdict"]}
    else:
        figures["failed"] = result
    print(json.dumps(figures), flush=True)
    return figures


def profiled(device: str, columns: int, trace: Path) -> dict[str, Any]:
    """Profile a training of the default model on 200 batches of a generated table: what its steps wait for."""
    from feature_audit.config import AuditConfig
    from feature_audit.data import Store
    from feature_audit.data.prepare import prepare
    from feature_audit.models import build_model, train
    from torch.profiler import ProfilerActivity, profile

    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.parquet"
        write_table(table, 100_000, columns)
        config = AuditConfig(data=str(table), target="clicked", work_dir=folder, device=device)
        prepared = prepare(config, Path(folder) / "store")
        store, schema = Store.open(Path(folder) / "store"), prepared.schema
        settings = config.training.model_copy(update={"max_epochs": 1})

        def training() -> tuple[float, int]:
            model = build_model("dcn_v2", schema, embedding_dim=4, params={}, seed=0)
            started = time.perf_counter()
            done = train(model, store, schema, config=settings, task="binary", seed=0, device=device)
            return time.perf_counter() - started, done.examples

        training()  # warm: kernels are loaded, files are in memory
        seconds, examples = training()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
        with profile(activities=activities) as seen:
            training()
    events = seen.key_averages()
    calls = Counter({event.key: event.count for event in events})
    slowest = sorted(events, key=lambda event: -(event.self_device_time_total or event.self_cpu_time_total))[:10]
    seen.export_chrome_trace(str(trace))
    figures = {
        "rows_per_second": round(examples / seconds),
        "waits": {name: calls[name] for name in SYNCS if calls[name]},
        "steps": calls["Optimizer.step#LazyAdamW.step"],
        "slowest": {
            event.key: round((event.self_device_time_total or event.self_cpu_time_total) / 1e3, 1) for event in slowest
        },
    }
    print(json.dumps({device: figures}), flush=True)
    return figures


if __name__ == "__main__":
    main()
