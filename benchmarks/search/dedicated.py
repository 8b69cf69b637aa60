"""Is one training for every K as good as a training for each K?

    PYTHONPATH=pipeline:selectors python benchmarks/search/dedicated.py --data santander --splits 12 13 14 15 16 17

Every split of a table is drawn anew. On each, trials of the search rank all features once, and concrete trainings with
exactly K slots choose K of them, with other seeds each; the model is retrained on both choices with the same seeds. The
test rows then say how much the one training loses to the dedicated ones. Rows are kept in --work-dir.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from case import Case
from feature_audit.stages.select import search_space
from methods import dedicated
from splits import REPEATS, Row, ask, kept_rows, ranking, retrained

KS = (10, 24, 40, 64)


def measure(name: str, seed: int, work_dir: Path) -> list[Row]:
    """All retrainings of one split of a table."""
    return kept_rows("dedicated", name, seed, work_dir, _compare)


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
                row = retrained(case, fields, trial=trial, repeat=repeat)
                rows.append({"trial": trial, "k": k, "method": method, "repeat": repeat, **row})
    return rows


def table(rows: list[Row]) -> str:
    """Means over splits, per table and K and at last over all K: test differences between ours, dedicated and full."""
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
    given = ask(str(__doc__), arguments)
    print(table([row for name in given.data for seed in given.splits for row in measure(name, seed, given.work_dir)]))


if __name__ == "__main__":
    main()
