"""Cost of running trials in rounds: TPE on noisy functions of the four settings, updated per trial or per round.

    python benchmarks/search/rounds.py [--csv FILE]

A function decreases with the squared distance from a random optimum, with random weights. ``trials`` is the mean true
value over all trials, which matters if their rankings are combined; ``best`` is the true value of the trial that looked
best. Both are means over seeds, with their standard errors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from feature_audit.selection import Draw, SearchSpace, TrialResult, run_study, study

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

SPACE = SearchSpace((10, 40), (2.0, 20.0), (0.05, 0.5), (0.5, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=60)
    csv_option(parser)
    given = parser.parse_args()
    shown = Table(["noise", "trials per round", "trials", "best"], given.csv)
    for noise in (0.0, 0.1, 0.3):
        for size in (1, 2, 4, 8):
            study.ROUND = size
            found = np.array([searched(given.trials, noise, seed) for seed in range(given.seeds)])
            cells = [
                f"{mean:.3f} ± {error:.3f}"
                for mean, error in zip(found.mean(axis=0), found.std(axis=0) / given.seeds**0.5, strict=True)
            ]
            about = {"noise": noise, "trials_per_round": size, "trials": given.trials}
            shown.add(
                [f"{noise:g}", size, *cells],
                *(
                    {**about, "seed": seed, "mean_worth": float(mean), "worth_of_best": float(best)}
                    for seed, (mean, best) in enumerate(found)
                ),
            )


def searched(trials: int, noise: float, seed: int) -> tuple[float, float]:
    """Mean true value of the trials of a study, and the true value of the trial that looked best."""
    random = np.random.default_rng(seed)
    best, weight, errors = random.random(4), 2 * random.random(4), noise * random.normal(size=trials)
    worth: dict[int, float] = {}

    def run_round(draws: Sequence[Draw]) -> list[TrialResult]:
        worth.update({draw.number: -float((weight * (place(draw) - best) ** 2).sum()) for draw in draws})
        return [TrialResult(worth[draw.number] + errors[draw.number]) for draw in draws]

    first = run_study(run_round, space=SPACE, trials=trials, seed=seed).finished[0]
    return float(np.mean(list(worth.values()))), worth[first.number]


def place(draw: Draw) -> np.ndarray:
    """Settings of a trial, scaled to 0 to 1 by their ranges."""
    chosen = draw.settings
    return np.array(
        [
            np.log(chosen["slots"] / 10) / np.log(4),
            np.log(chosen["temperature_start"] / 2) / np.log(10),
            np.log(chosen["temperature_end"] / 0.05) / np.log(10),
            (chosen["anneal_share"] - 0.5) / 0.5,
        ]
    )


if __name__ == "__main__":
    main()
