"""Do three trials of the search rank features better together than one alone?

    PYTHONPATH=pipeline:selectors python benchmarks/search/together.py --data santander ml-100k demo --splits 91 92

Every split of a table is drawn anew. On each, three trials rank all features, and the model is retrained on the first K
by each of them and by their consensus, with the same seeds. Printed are differences from the full model on test:
`one`, the mean of the three rankings alone, and `together`. Rows are kept in --work-dir and not computed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from case import Case
from feature_audit.search import consensus
from splits import REPEATS, Row, ask, kept_rows, mean_and_error, ranking, retrained

KS = (12, 20, 32, 50, 80)
VOTERS = 3
_TOGETHER = "together"


def measure(name: str, seed: int, work_dir: Path) -> list[Row]:
    """All retrainings of one split of a table."""
    return kept_rows("together", name, seed, work_dir, _rows, trials=1)  # one call of _rows runs all three


def _rows(case: Case, _: int) -> Iterator[Row]:
    orders = [ranking(case, trial)[0] for trial in range(VOTERS)]
    named = {**{str(trial): order for trial, order in enumerate(orders)}, _TOGETHER: consensus(orders)}
    for k in (k for k in KS if k < case.high):
        for who, order in named.items():
            for repeat in range(REPEATS):
                row = retrained(case, order[:k], trial=0, repeat=repeat)
                yield {"k": k, "who": who, "repeat": repeat, **row}


def table(rows: list[Row]) -> str:
    """Means over splits, per table and K and at last over all K, with the standard error of the difference."""
    lines = ["| data | K | splits | one - full | together - full | together - one | ahead in |", "|" + "---|" * 7]
    for name in dict.fromkeys(row["data"] for row in rows):
        own = [row for row in rows if row["data"] == name]
        ks = sorted({row["k"] for row in own})
        for label, among in [*((str(k), [k]) for k in ks), ("all", ks)]:
            lines.append(_line(name, label, [row for row in own if row["k"] in among]))
    return "\n".join(lines)


def _line(name: str, label: str, rows: list[Row]) -> str:
    splits = sorted({row["split"] for row in rows})

    def means(together: bool) -> np.ndarray:
        """Per split, on test."""
        own = [row for row in rows if (row["who"] == _TOGETHER) == together]
        return np.array([np.mean([row["test"][0] for row in own if row["split"] == split]) for split in splits])

    one, together = means(False), means(True)
    gap = together - one
    shown = [name, label, str(len(splits)), f"{one.mean():+.4f}", f"{together.mean():+.4f}"]
    return "| " + " | ".join([*shown, mean_and_error(gap), str((gap > 0).sum())]) + " |"


def main(arguments: list[str] | None = None) -> None:
    given = ask(str(__doc__), arguments)
    print(table([row for name in given.data for seed in given.splits for row in measure(name, seed, given.work_dir)]))


if __name__ == "__main__":
    main()
