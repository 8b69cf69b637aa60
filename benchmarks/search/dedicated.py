"""Is one training for every K as good as a training for each K?

    PYTHONPATH=pipeline:selectors python benchmarks/search/dedicated.py --data santander --splits 12 13 14 15 16 17

Every split of a table is drawn anew. On each, trials of the search rank all features once, and concrete trainings with
exactly K slots choose K of them, with other seeds each; the model is retrained on both choices with the same seeds. The
test rows then say how much the one training loses to the dedicated ones. Rows are kept in --work-dir.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from case import Case
from feature_audit.stages.process import tune_process
from feature_audit.stages.select import search_space
from methods import dedicated
from splits import TABLES, Row, ranking, retrained, split_anew

KS = (10, 24, 40, 64)
TRIALS = REPEATS = 2
_SEED = 90_000


def measure(name: str, seed: int, work_dir: Path) -> list[Row]:
    """All retrainings of one split of a table, from the file of an earlier run where there is one."""
    place = work_dir.resolve() / f"dedicated_{name}_{seed}.jsonl"
    if not place.is_file():
        case = split_anew(name, seed, work_dir)
        rows = [row for trial in range(TRIALS) for row in _compare(case, trial)]
        text = "\n".join(json.dumps({"data": name, "split": seed, **row}) for row in rows)
        place.write_text(text, encoding="utf-8")
    return [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]


def _compare(case: Case, trial: int) -> list[Row]:
    order = ranking(case, trial)
    place = {name: index for index, name in enumerate(case.schema.names)}
    defaults = search_space(case.config, case.low, case.high).defaults()
    rows = []
    for k in (k for k in KS if k < case.high):
        names, _ = dedicated(case, k, defaults, case.config.seed + trial)
        choices = {"ours": order[:k], "dedicated": [place[name] for name in names]}
        for method, fields in choices.items():
            for repeat in range(REPEATS):
                row = retrained(case, fields, seed=_SEED + 10 * trial + repeat)
                rows.append({"trial": trial, "k": k, "method": method, "repeat": repeat, **row})
    return rows


def table(rows: list[Row]) -> str:
    """Per table and K: mean test difference from the full model of both, and theirs, over splits; the last line of a
    table is the mean over its K."""
    head = "data | K | splits | ours - full | dedicated - full | ours - dedicated | ahead in | promised too much: ours"
    lines = [f"| {head} | dedicated |", "|" + "---|" * 9]
    for name in sorted({row["data"] for row in rows}):
        own = [row for row in rows if row["data"] == name]
        ks = sorted({row["k"] for row in own})
        for label, among in [*((str(k), [k]) for k in ks), ("all", ks)]:
            lines.append(_line(name, label, [row for row in own if row["k"] in among]))
    return "\n".join(lines)


def _line(name: str, label: str, rows: list[Row]) -> str:
    splits = sorted({row["split"] for row in rows})

    def means(part: str, method: str) -> np.ndarray:
        """Per split."""
        return np.array(
            [np.mean([r[part][0] for r in rows if r["split"] == s and r["method"] == method]) for s in splits]
        )

    ours, theirs = means("test", "ours"), means("test", "dedicated")
    excess = [float(np.mean(means("all", method) - means("test", method))) for method in ("ours", "dedicated")]
    gap = ours - theirs
    error = f" ± {gap.std(ddof=1) / len(gap) ** 0.5:.4f}" if len(gap) > 1 else ""
    shown = f"{name} | {label} | {len(splits)} | {ours.mean():+.4f} | {theirs.mean():+.4f}"
    return f"| {shown} | {gap.mean():+.4f}{error} | {(gap > 0).sum()} | {excess[0]:+.4f} | {excess[1]:+.4f} |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["santander"], choices=list(TABLES))
    parser.add_argument("--splits", nargs="+", type=int, default=[1, 2, 3], help="seeds of the splits")
    parser.add_argument("--work-dir", type=Path, default=Path(".audit/benchmark-search"))
    given = parser.parse_args(arguments)
    tune_process(threads=1)
    print(table([row for name in given.data for seed in given.splits for row in measure(name, seed, given.work_dir)]))


if __name__ == "__main__":
    main()
