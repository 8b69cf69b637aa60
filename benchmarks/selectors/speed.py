"""Cost of a selection: each claim is a ratio of two timings in one run, or the peak of a fresh process.

    python benchmarks/selectors/speed.py step      # a selector step, P = 64 against P = N, and over N
    python benchmarks/selectors/speed.py memory    # N = 100,000, K = 200 trained in a fresh process
    python benchmarks/selectors/speed.py noise     # masks per group of rows against a mask per row, at equal quality
    python benchmarks/selectors/speed.py noise --csv FILE

One thread. A *step* is the cost of a batch in addition to the network: noisy masks (one of K x N), their gates, the
gradient, one step of Adam; median of several, alternating if two things are compared. *Memory* is the peak resident
memory of a process in GiB, including imports (about 0.3) and data, over the few steps of one epoch. *Noise* trains
MNIST's reconstruction as in `papers.py`.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from concrete_selectors import ConcreteSelector, IPCAESelector, PathSettings, SelectionTask, fit_path
from torch import Tensor, nn
from torch.nn import functional

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

K = 50


def stepper(n: int, rank: int, *, k: int = K) -> Callable[[], None]:
    """One training step of a selector, without a model."""
    generator = torch.Generator().manual_seed(0)
    selector = ConcreteSelector(n, k, rank=rank, generator=generator)
    optimizer = torch.optim.Adam(selector.parameters(), lr=1e-3)
    weight = torch.randn(n, generator=generator)

    def step() -> None:
        gates = selector.gates(1.0, 1, generator=generator)
        optimizer.zero_grad(set_to_none=True)
        (gates @ weight).sum().backward()
        optimizer.step()

    return step


def milliseconds(steps: Sequence[Callable[[], None]], *, rounds: int) -> list[float]:
    """Median time of each, measured alternately."""
    times: list[list[float]] = [[] for _ in steps]
    for number in range(rounds + 1):
        for step, found in zip(steps, times, strict=True):
            started = time.perf_counter()
            step()
            if number:  # the first round allocates
                found.append(1000 * (time.perf_counter() - started))
    return [float(np.median(found)) for found in times]


def steps_table(ns: Sequence[int], rounds: int, path: Path | None) -> None:
    print(f"Selector step, K = {K}, P = 64 against P = N, median of {rounds}\n")
    shown = Table(["N", "P = 64, ms", "P = N, ms", "times faster"], path)
    for n in (1_000, 5_000, 10_000):
        short, whole = milliseconds([stepper(n, 64), stepper(n, n)], rounds=rounds)
        shown.add(
            [f"{n:,}", f"{short:.1f}", f"{whole:,.0f}", f"{whole / short:.0f}"],
            *({"table": "ranks", "n": n, "p": p, "ms": value} for p, value in ((64, short), (n, whole))),
        )
    print("\nThe same over N, P = 64\n")
    shown = Table(["N", "ms", "ms per 1,000 features"], path)
    times = milliseconds([stepper(n, 64) for n in ns], rounds=rounds)
    for n, value in zip(ns, times, strict=True):
        cells = [f"{n:,}", f"{value:.1f}", f"{1000 * value / n:.2f}"]
        shown.add(cells, {"table": "growth", "n": n, "p": 64, "ms": value})
    slope = np.polyfit(np.log(ns), np.log(times), 1)[0]
    print(f"\nTime grows as N^{slope:.2f}.", flush=True)


class WideNet(nn.Module):
    """Numbers, each with a separate linear embedding, into a small perceptron."""

    def __init__(self, n: int, *, d: int = 4) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.randn(n, d))
        self.head = nn.Sequential(nn.Linear(n * d, 32), nn.ReLU(), nn.Linear(32, 1))

    def embed(self, batch: Tensor) -> Tensor:
        return batch.unsqueeze(-1) * self.slope

    def predict(self, embedded: Tensor) -> Tensor:
        return self.head(embedded.flatten(1)).squeeze(-1)


def train_wide(face: str, n: int, k: int, rows: int) -> None:
    """Train on a table whose first 10 columns determine the label; print seconds, peak GiB and kept columns."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    x = torch.randn(rows, n)
    y = (x[:, :10].sum(dim=1) > 0).float()
    started = time.perf_counter()
    if face == "fit_path":
        half = rows // 2

        def batches(part: slice) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
            return lambda epoch: zip(x[part].split(64), y[part].split(64), strict=True)

        task = SelectionTask(
            WideNet(n), batches(slice(half)), batches(slice(half, None)),
            loss=lambda out, goal: functional.binary_cross_entropy_with_logits(out, goal, reduction="none"),
            steps_per_epoch=-(-half // 64),
        )  # fmt: skip
        kept = fit_path(task, PathSettings(k_max=k, epochs=1)).subset(k)
    else:
        kept = (
            IPCAESelector(k, epochs=1, random_state=0).fit(x.numpy(), y.numpy().astype(int)).get_support(indices=True)
        )
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform != "darwin" else 1024**3)
    print(f"{seconds:.0f} {peak:.2f} {len(kept)}")


def memory_table(rows: int, path: Path | None) -> None:
    print(f"Training on {rows:,} rows in a fresh process, 1 epoch\n")
    shown = Table(["what", "N", "K", "seconds", "peak GiB", "kept"], path)
    for face in ("fit_path", "IPCAESelector"):
        for n, k in ((10_000, 50), (100_000, 200)):
            command = [sys.executable, str(Path(__file__)), "train", face, str(n), str(k), "--rows", str(rows)]
            printed = subprocess.run(command, capture_output=True, text=True, check=False)
            cells = printed.stdout.split() or ["-", f"failed ({printed.returncode})", "-"]
            figures = dict(zip(("seconds", "peak_gib", "kept"), cells, strict=True))
            shown.add([face, f"{n:,}", k, *cells], {"what": face, "n": n, "k": k, "rows": rows, **figures})


def noise_table(epochs: int, seeds: Sequence[int], path: Path | None) -> None:
    from papers import Form, images, reconstruct, split

    x = torch.as_tensor(images()[0])
    print(f"MNIST reconstruction, K = {K}, P = 64, {epochs} epochs, seeds {list(seeds)}; medians (worst)\n")
    head = "masks per batch of 128", "CPU s per epoch", "times faster", "test error / variance", "distinct of 50"
    shown = Table(head, path)
    slowest = None
    for noise in ("row", 32, 16, 8, "batch"):
        outcomes = []
        for seed in seeds:
            train, test = split(len(x), seed, share=0.8)
            form = Form(str(noise), "ip_cae", None, noise, None)
            outcomes.append(reconstruct(form, x[train], x[test], epochs=epochs, seed=seed))
        seconds = float(np.median([o.seconds for o in outcomes])) / epochs
        slowest = slowest or seconds
        errors, distinct = [o.error for o in outcomes], [o.distinct for o in outcomes]
        name = {"row": "one per row (128)", "batch": "1"}.get(str(noise), str(noise))
        shown.add(
            [
                name, f"{seconds:.2f}", f"{slowest / seconds:.1f}", f"{np.median(errors):.4f} ({max(errors):.4f})",
                f"{np.median(distinct):.0f} ({min(distinct)})",
            ],
            *(
                {
                    "masks": name, "epochs": epochs, "seed": seed, "cpu_seconds": o.seconds, "test_error": o.error,
                    "distinct": o.distinct,
                }
                for seed, o in zip(seeds, outcomes, strict=True)
            ),
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    step = parts.add_parser("step")
    step.add_argument("--n", nargs="+", type=int, default=[1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000])
    step.add_argument("--rounds", type=int, default=7)
    parts.add_parser("memory").add_argument("--rows", type=int, default=512)
    noise = parts.add_parser("noise")
    noise.add_argument("--epochs", type=int, default=20)
    noise.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    train = parts.add_parser("train", help="one training of `memory`, in this process")
    train.add_argument("face", choices=["fit_path", "IPCAESelector"])
    train.add_argument("n", type=int)
    train.add_argument("k", type=int)
    train.add_argument("--rows", type=int, default=512)
    for part in ("step", "memory", "noise"):
        csv_option(parts.choices[part])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.part == "step":
        steps_table(options.n, options.rounds, options.csv)
    elif options.part == "memory":
        memory_table(options.rows, options.csv)
    elif options.part == "noise":
        noise_table(options.epochs, options.seeds, options.csv)
    else:
        train_wide(options.face, options.n, options.k, options.rows)


if __name__ == "__main__":
    main()
