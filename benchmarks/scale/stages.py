"""Stage times and peak memory of whole audits, and their growth with columns and rows.

    python benchmarks/scale/stages.py                                   # the demo with default settings
    python benchmarks/scale/stages.py --audit demo:200 --audit conf/santander.yaml:200 --threads 1 --threads 2
    python benchmarks/scale/stages.py --device cpu --device cuda        # speed-up by a GPU
    python benchmarks/scale/stages.py --generated 10000x500 --generated 10000x1000 --generated 20000x1000
    python benchmarks/scale/stages.py --generated 20000x10000 --generated 20000x20000 --threads 1
    python benchmarks/scale/stages.py --audit demo:20 --rows all --rows 10% -- --k_min 20 --model mlp

Every audit runs as a user would start it, in a separate process with an empty cache and tracking store. A stage lasts
from its first message to the next stage's, with everything between them. CPU seconds are those of the process and its
children; load affects them less than wall seconds. Memory is their anonymous memory (RssAnon), sampled ten times a
second; pages of mapped files are a cache that the kernel can evict. A generated table is audited with `quick` and K of
at most 200; it has the same 50 signals at any size. If two of them differ only in rows or only in columns, exponents of
growth are computed. Words after `--` are options of the audits. `--csv` adds the raw figures to a file, one line per
audit and stage.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generate import SIGNALS, write_table
from usage import Usage

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

ROOT = Path(__file__).parents[2]
STAGES = ("load", "baseline", "select", "retrain", "parity")
BEGINS = re.compile(rf"^({'|'.join(STAGES)}): running")


@dataclass(frozen=True)
class Audit:
    """What to audit: ``source`` is demo, a configuration or a generated table's ROWSxCOLUMNS."""

    source: str
    words: tuple[str, ...]
    shape: tuple[int, int] | None = None


@dataclass(frozen=True)
class Measured:
    """Wall and CPU seconds and peak bytes by stage, and the finished report."""

    audit: Audit
    seconds: dict[str, float]
    cpu: dict[str, float]
    peak: dict[str, float]
    total: float
    report: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audit", action="append", default=[], help="`demo:K` or `config.yaml:K`; default demo:200")
    parser.add_argument("--generated", action="append", default=[], help="ROWSxCOLUMNS")
    parser.add_argument("--threads", action="append", type=int, help="torch threads to try; default: the audit's own")
    parser.add_argument("--rows", action="append", help="rows that the selection reads; default: all")
    parser.add_argument("--device", action="append", help="cpu, cuda or cuda:N; default: the audit's own choice")
    csv_option(parser)
    parser.add_argument("--folder", help="where tables and stores are written; default: the temporary folder")
    chosen, options = parser.parse_known_args()
    options = [word for word in options if word != "--"]
    named = chosen.audit or ([] if chosen.generated else ["demo:200"])
    audits = [*map(named_audit, named), *map(generated_audit, chosen.generated)]
    head = ["audit", "device", "threads", "rows", "verdict", "K", *(f"{stage} CPU s / MiB" for stage in STAGES)]
    head += ["total s", "full trainings", "test full, pruned", "signals kept, in the first 200"]
    shown = Table(head, chosen.csv)
    settings = itertools.product(chosen.device or ["auto"], chosen.threads or [0], chosen.rows or ["all"])
    for device, threads, rows in settings:
        done = []
        for audit in audits:
            words = ("--threads", str(threads), "--device", device, *(() if rows == "all" else ("--rows", rows)))
            found = measure(audit, (*words, *options), chosen.folder)
            about: dict[str, object] = {"audit": audit.source, "device": device, "threads": threads or "default"}
            start = [*about.values(), rows]
            about |= {"selection_rows": rows} if chosen.rows else {}
            if isinstance(found, str):
                shown.add([*start, found])
            else:
                done.append(found)
                shown.add([*start, *cells(found)], *figures(found, about))
        print_exponents(done)


def named_audit(name: str) -> Audit:
    source, _, k = name.rpartition(":")
    words = ("--data", "demo") if source == "demo" else ("--config", source)
    return Audit(source, (*words, "--k", k))


def generated_audit(shape: str) -> Audit:
    rows, columns = map(int, shape.split("x"))
    words = ("--target", "clicked", "--profile", "quick", "--k", str(min(200, columns)))
    return Audit(shape, words, (rows, columns))


def measure(audit: Audit, words: tuple[str, ...], where: str | None) -> Measured | str:
    """Run one audit; a text if it failed."""
    with tempfile.TemporaryDirectory(dir=where) as folder:
        if audit.shape is not None:
            table = f"{folder}/table.parquet"
            write_table(Path(table), *audit.shape)
            words = ("--data", table, *words)
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "PYTHONPATH": os.pathsep.join(
                [f"{ROOT / 'pipeline'}", f"{ROOT / 'selectors'}", os.environ.get("PYTHONPATH", "")]
            ),
        }
        command = [sys.executable, "-m", "feature_audit", "run", *audit.words, *words, "--work_dir", f"{folder}/work"]
        cwd = ROOT if audit.shape is None else folder  # a configuration's paths start at the project's root
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=environment, stderr=subprocess.PIPE, text=True)
        usage = Usage(process.pid)
        begins, cpu, peak, line, stage = {}, {}, {}, "", ""
        assert process.stderr is not None
        for line in process.stderr:
            if found := BEGINS.match(line):
                used = usage.take()
                if stage:  # else the start of the process
                    cpu[stage], peak[stage] = used.cpu, used.anonymous
                    said = f"{stage} {used.cpu:.0f} CPU s, {used.anonymous / 2**20:.0f} MiB"
                    print(f"{audit.source}: {said}", file=sys.stderr, flush=True)
                stage = found[1]
                begins[stage] = time.perf_counter()
        ended = time.perf_counter()
        cpu[stage], peak[stage] = usage.take()[:2]
        if process.wait():
            return f"failed: {line.strip()}"
        report = finished_report(environment["MLFLOW_TRACKING_URI"])
    ends = dict(zip(begins, [*list(begins.values())[1:], ended], strict=True))
    seconds = {name: ends[name] - begins[name] for name in begins}
    return Measured(audit, seconds, cpu, peak, ended - started, report)


def cells(found: Measured) -> list[str]:
    report = found.report
    stages = [f"{found.cpu[stage]:.0f} / {found.peak[stage] / 2**20:.0f}" for stage in STAGES]
    trainings = sum(cost["full_trainings"] for cost in report["costs"])
    signals = "{}, {}".format(*signals_found(report)) if found.audit.shape else "-"
    decision = next(row for row in report["deltas"] if row["role"] == "decision")
    test = f"{decision['baseline']:.4f}, {decision['pruned']:.4f}"
    start = [report["verdict"], f"{report['k']} of {report['n_features']}", *stages, f"{found.total:.0f}"]
    return [*start, f"{trainings:.1f}", test, signals]


def signals_found(report: dict[str, Any]) -> tuple[int, int]:
    """Of the 50 signals: how many are kept, and how many are among the first 200 of the ranking."""
    ranked = sorted(report["decisions"], key=lambda row: row["rank"])
    kept = [row for row in ranked if row["decision"] == "keep"]
    kept_signals, first = (sum(row["feature"].startswith(SIGNALS) for row in rows) for rows in (kept, ranked[:200]))
    return kept_signals, first


def figures(found: Measured, about: dict[str, object]) -> list[dict[str, object]]:
    """An audit's figures, one line per stage."""
    report = found.report
    decision = next(row for row in report["deltas"] if row["role"] == "decision")
    kept, first = signals_found(report) if found.audit.shape else ("", "")
    result = {
        "verdict": report["verdict"], "k": report["k"], "n_features": report["n_features"],
        "test_full": decision["baseline"], "test_pruned": decision["pruned"], "signals_kept": kept,
        "signals_in_first_200": first,
    }  # fmt: skip
    return [
        {
            **about, "stage": stage, "seconds": found.seconds[stage], "cpu_seconds": found.cpu[stage],
            "peak_mib": found.peak[stage] / 2**20, **result,
        }
        for stage in STAGES
    ]  # fmt: skip


def print_exponents(done: list[Measured]) -> None:
    """Growth between consecutive generated tables that differ in one number only."""
    pairs = [(one, other) for one, other in itertools.pairwise(done) if one.audit.shape and other.audit.shape]
    lines = []
    for one, other in pairs:
        ratios = [b / a for a, b in zip(one.audit.shape, other.audit.shape, strict=True)]
        if (ratios[0] == 1) == (ratios[1] == 1):
            continue
        size = math.log(max(ratios, key=lambda ratio: abs(math.log(ratio))))
        grown = [
            f"{math.log(other.cpu[stage] / one.cpu[stage]) / size:.2f} / "
            f"{math.log(other.peak[stage] / one.peak[stage]) / size:.2f}"
            for stage in STAGES
        ]
        lines.append(f"| {one.audit.source} to {other.audit.source} | {' | '.join(grown)} |")
    if lines:
        print(f"\n| exponents of CPU seconds / memory | {' | '.join(STAGES)} |\n|---|---|---|---|---|---|")
        print("\n".join(lines), flush=True)


def finished_report(uri: str) -> dict[str, Any]:
    """``report/report.json`` of the only audit in a tracking store."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    run = client.search_runs(experiments, "tags.audit.k LIKE '%'")[0]
    return dict(json.loads(Path(client.download_artifacts(run.info.run_id, "report/report.json")).read_text()))


if __name__ == "__main__":
    main()
