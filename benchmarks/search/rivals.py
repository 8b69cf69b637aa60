"""Is one training for every K as good as a training for each K, and as LightGBM's elimination?

    PYTHONPATH=pipeline:selectors python benchmarks/search/rivals.py --data santander --splits 12 13 14 15 16 17

Every split of a table is drawn anew. On each, trials of the search rank all features once (ours), concrete trainings
with exactly K slots choose K of them (dedicated), and LightGBM eliminates down to K (rfe), with other seeds each; the
model is retrained on every choice with the same seeds. The test rows then say whose features are better. Rows are kept
in --work-dir, each method's in files of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from case import Case
from feature_audit.stages.select import search_space
from methods import dedicated, rfe_path
from splits import REPEATS, Row, ask, kept_rows, mean_and_error, ranking, retrained

KS = (10, 24, 40, 64)
METHODS = ("ours", "dedicated", "rfe")
#: Rows and steps of LightGBM's elimination, as in the comparison with rivals at one split.
_RFE_ROWS, _RFE_STEP = 20_000, 0.1


def measure(name: str, seed: int, work_dir: Path, methods: Sequence[str] = METHODS) -> list[Row]:
    """All retrainings of one split of a table."""
    return [
        {**row, "method": method}
        for method in methods
        for row in kept_rows(f"rivals_{method}", name, seed, work_dir, partial(_rows, method))
    ]


def _rows(method: str, case: Case, trial: int) -> Iterator[Row]:
    """One trial of a method: its choice at each K, retrained."""
    for k, fields, cost in _choices(method, case, trial, [k for k in KS if k < case.high]):
        for repeat in range(REPEATS):
            row = retrained(case, fields, trial=trial, repeat=repeat)
            yield {"trial": trial, "k": k, "repeat": repeat, **row, **cost}


def _choices(method: str, case: Case, trial: int, ks: list[int]) -> Iterable[tuple[int, list[int], Row]]:
    """K, the fields chosen and, of ours, what the trial cost."""
    seed = case.config.seed + trial
    if method == "ours":
        order, cost = ranking(case, trial)
        return [(k, order[:k], cost) for k in ks]
    if method == "rfe":
        found = rfe_path(case, ks, rows=_RFE_ROWS, step=_RFE_STEP, seed=seed)
        return [(k, fields, {}) for k, (fields, _) in found.items()]
    place = {name: index for index, name in enumerate(case.schema.names)}
    defaults = search_space(case.config, case.low, case.high).defaults()
    return [(k, [place[name] for name in dedicated(case, k, defaults, seed)[0]], {}) for k in ks]


def table(rows: list[Row]) -> str:
    """Means over splits, per table and K and at last over all K: test differences between methods and full model."""
    methods = [method for method in METHODS if any(row["method"] == method for row in rows)]
    head = ["data", "K", "splits", *(f"{method} - full" for method in methods)]
    head += [text for method in methods[1:] for text in (f"ours - {method}", "ahead in")]
    head += [f"{'promised too much: ' if method == methods[0] else ''}{method}" for method in methods]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in sorted({row["data"] for row in rows}):
        own = [row for row in rows if row["data"] == name]
        ks = sorted({row["k"] for row in own})
        for label, among in [*((str(k), [k]) for k in ks), ("all", ks)]:
            lines.append(_line(name, label, methods, [row for row in own if row["k"] in among]))
    return "\n".join(lines)


def _line(name: str, label: str, methods: Sequence[str], rows: list[Row]) -> str:
    splits = sorted({row["split"] for row in rows})

    def means(part: str, method: str) -> np.ndarray:
        """Per split."""
        return np.array(
            [np.mean([r[part][0] for r in rows if r["split"] == s and r["method"] == method]) for s in splits]
        )

    tests = {method: means("test", method) for method in methods}
    shown = [name, label, str(len(splits)), *(f"{tests[method].mean():+.4f}" for method in methods)]
    for rival in methods[1:]:
        gap = tests["ours"] - tests[rival]
        shown += [mean_and_error(gap), str((gap > 0).sum())]
    shown += [f"{np.mean(means('all', method) - tests[method]):+.4f}" for method in methods]
    return "| " + " | ".join(shown) + " |"


def costs(rows: list[Row]) -> str:
    """Means over the trials of ours, per table, in full trainings."""
    lines = ["| data | trials | one trial costs | its elimination alone |", "|---|---|---|---|"]
    ours = [row for row in rows if "cost" in row]
    for name in sorted({row["data"] for row in ours}):
        own = {(row["split"], row["trial"]): (row["cost"], row["elimination"]) for row in ours if row["data"] == name}
        whole, alone = np.mean(list(own.values()), axis=0)
        lines.append(f"| {name} | {len(own)} | {whole:.2f} | {alone:.2f} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    given = ask(str(__doc__), arguments, rivals=METHODS[1:])
    splits = [(name, seed) for name in given.data for seed in given.splits]
    rows = [row for name, seed in splits for row in measure(name, seed, given.work_dir, ("ours", *given.rivals))]
    print(table(rows), costs(rows), sep="\n\n")


if __name__ == "__main__":
    main()
