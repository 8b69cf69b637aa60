"""Does validation promise more than test keeps, and which rule for K leads to a verdict?

    PYTHONPATH=pipeline:selectors python benchmarks/search/promise.py --data santander --splits 1 2 3

Every split of a table is drawn anew (rows at random, ml-100k by user). On each, two trials of the search rank the
features and the model is retrained on the first K for a grid of K. Differences from the full model are then compared
between the validation rows that judged removals (the even ones), the other validation rows, and the test rows; and
every rule for K chooses on validation what test then judges. Retrainings are kept in --work-dir and not computed again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from case import Case
from feature_audit.search import KPoint, choose_k
from feature_audit.search.rule import STEPS, pass_chance
from scipy.stats import norm
from splits import REPEATS, ROWS, Row, ask, kept_rows, ranking, retrained

KS = (6, 10, 16, 25, 40, 64)


def measure(name: str, seed: int, work_dir: Path) -> list[Row]:
    """All retrainings of one split of a table."""
    return kept_rows("promise", name, seed, work_dir, _retrain)


def _retrain(case: Case, trial: int) -> Iterable[Row]:
    order, _ = ranking(case, trial)
    for k in (k for k in KS if k <= case.high):
        for repeat in range(REPEATS):
            yield {"trial": trial, "k": k, "repeat": repeat, **retrained(case, order[:k], trial=trial, repeat=repeat)}


def promises(rows: list[Row]) -> str:
    """Per split: mean difference on each part of validation less that on test; last line: over all splits."""
    splits: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        splits[row["data"], row["split"]].append(row)
    lines = ["| data | split | judged - test | other - test | all - test | standard errors: validation, test |"]
    lines.append("|---|---|---|---|---|---|")
    kept = []
    for (name, seed), own in splits.items():
        excess = [float(np.mean([row[part][0] - row["test"][0] for row in own])) for part in ROWS]
        errors = [float(np.mean([row[part][1] for row in own])) for part in ("all", "test")]
        kept.append(excess)
        shown = " | ".join(f"{value:+.4f}" for value in excess)
        lines.append(f"| {name} | {seed} | {shown} | {errors[0]:.4f}, {errors[1]:.4f} |")
    if len(kept) > 1:
        mean, error = np.mean(kept, axis=0), np.std(kept, axis=0, ddof=1) / len(kept) ** 0.5
        shown = " | ".join(f"{m:+.4f} ± {e:.4f}" for m, e in zip(mean, error, strict=True))
        lines.append(f"| all | {len(kept)} | {shown} | |")
    return "\n".join(lines)


def rules(rows: list[Row], *, margin: float = 0.002, confidence: float = 0.95) -> str:
    """Per rule: the K it takes on validation, what validation promised, what test found, how often test would pass.

    The verdict here knows the noise of the test rows alone, for one retraining.
    """
    curves: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        curves[row["data"], row["split"], row["trial"], row["repeat"]].append(row)
    bound = float(norm.ppf(confidence))
    head = "rule | choices | K (geometric mean) | promised | found | forecast to pass | passes | fails"
    lines = [f"| {head} |", "|" + "---|" * 8]
    for rule in STEPS:
        chosen, forecasts = [], []
        for own in curves.values():
            points = [KPoint(row["k"], 0.0, *row["all"]) for row in own]
            ratio = float(np.mean([row["test"][1] / row["all"][1] for row in own]))
            known: dict[str, float] = {"margin": margin, "confidence": confidence, "test_ratio": ratio}
            k = choose_k(points, metric="auc", rule=rule, **known).k
            chosen.append(next(row for row in own if row["k"] == k))
            forecasts.append(pass_chance(next(point for point in points if point.k == k), **known))
        test = np.array([row["test"] for row in chosen])
        passes = test[:, 0] - bound * test[:, 1] >= -margin
        fails = test[:, 0] + bound * test[:, 1] < -margin
        k_mean = float(np.exp(np.mean(np.log([row["k"] for row in chosen]))))
        promised = float(np.mean([row["all"][0] for row in chosen]))
        shown = f"{rule} | {len(chosen)} | {k_mean:.0f} | {promised:+.4f} | {test[:, 0].mean():+.4f}"
        lines.append(f"| {shown} | {np.mean(forecasts):.0%} | {passes.mean():.0%} | {fails.mean():.0%} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    given = ask(str(__doc__), arguments)
    rows = [row for name in given.data for seed in given.splits for row in measure(name, seed, given.work_dir)]
    print(promises(rows) + "\n\n" + rules(rows))


if __name__ == "__main__":
    main()
