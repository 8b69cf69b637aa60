"""How often a K that loses the margin passes, if several K are tested in a fixed order.

    python benchmarks/parity/ladder.py [--csv FILE]

Simulated audits with known truth (see world.py): all K share the test rows and the full model's trainings and, with
``alike``, most of the variance specific to a pruned model's scores. The table of docs/results/error-rates.md.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import world
from feature_audit.noninferiority import fixed_sequence, proven_k
from gates import judged

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option, with_interval

MARGIN = 0.002
GAIN = -5.0  # in margins: a K that certainly passes


@dataclass(frozen=True)
class Case:
    """Several K and their true losses.

    Attributes:
        name: for the table.
        losses: true loss of each K in margins, in the order of testing.
        seeds: trainings of (each K's pruned model, the full model).
        seed_noise: standard deviation of a training's true AUC.
        alike: see ``world.simulate_ladder``.
    """

    name: str
    losses: tuple[float, ...]
    seeds: tuple[int, int] = (3, 1)
    seed_noise: float = 0.0007
    alike: float = 0.0


CASES = [
    Case("one K that loses the margin", (1,)),
    Case("two, both lose the margin", (1, 1)),
    Case("three, all lose the margin", (1, 1, 1)),
    Case("the same, the pruned models nearly alike", (1, 1, 1), alike=0.9),
    Case("the same, no seed noise", (1, 1, 1), seed_noise=0.0, alike=0.9),
    Case("the same, 3 trainings of the full model", (1, 1, 1), seeds=(3, 3), alike=0.9),
    Case("four, all lose the margin", (1, 1, 1, 1)),
    Case("a sure one, then one that loses the margin", (GAIN, 1)),
    Case("two sure ones, then one that loses the margin", (GAIN, GAIN, 1)),
    Case("three sure ones, then one that loses the margin", (GAIN, GAIN, GAIN, 1)),
    Case("a sure one, then three that lose the margin", (GAIN, 1, 1, 1)),
    Case("a bad one between two sure ones", (GAIN, 1, GAIN)),
    Case("a bad one before two sure ones", (1, GAIN, GAIN)),
    Case("no loss, half the margin, the margin", (0, 0.5, 1), seeds=(3, 3), alike=0.9),
    Case("three, none loses anything", (0, 0, 0), seeds=(3, 3), alike=0.9),
]


def run(case: Case, simulations: int, seed: int) -> dict[str, int]:
    """Counts of audits by their outcome; a K is identified by its position in the order."""
    rng = np.random.default_rng([seed, *case.name.encode()])
    design = world.Design(case.name, 0.0, case.seed_noise, seeds=case.seeds)
    bad = {place for place, loss in enumerate(case.losses) if loss >= 1}
    counts = dict.fromkeys(("in order", "each by itself", "recommended", "first"), 0)
    for _ in range(simulations):
        audits = world.simulate_ladder(design, [loss * MARGIN for loss in case.losses], rng, alike=case.alike)
        alone = [judged(audit, MARGIN) for audit in audits]
        results = fixed_sequence(range(len(audits)), alone.__getitem__)
        passed = {place for place, result in results.items() if result.verdict == "pass"}
        counts["in order"] += bool(passed & bad)
        counts["recommended"] += bool(passed) and proven_k(results) in bad
        counts["each by itself"] += any(alone[place].verdict == "pass" for place in bad)
        counts["first"] += 0 in passed
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000, help="simulated audits per row")
    parser.add_argument("--seed", type=int, default=0)
    csv_option(parser)
    given = parser.parse_args()
    head = ["K, in the order of testing", "loss in margins", "trainings", "a bad K passes", "a bad K is recommended"]
    head += ["a bad K passes if each is tested by itself", "the first K passes"]
    shown = Table(head, given.csv)
    for case in CASES:
        counts = run(case, given.simulations, given.seed)
        share = {name: f"{count / given.simulations:.1%}" for name, count in counts.items()}
        wrong = with_interval(counts["in order"], given.simulations)
        losses, trainings = ", ".join(f"{loss:g}" for loss in case.losses), f"{case.seeds[0]} + {case.seeds[1]}"
        figures = {
            "k in order": case.name, "losses in margins": losses, "trainings": trainings,
            "simulations": given.simulations, "a bad k passes": counts["in order"],
            "a bad k is recommended": counts["recommended"], "a bad k passes by itself": counts["each by itself"],
            "the first k passes": counts["first"],
        }  # fmt: skip
        cells = [case.name, losses, trainings, wrong, share["recommended"], share["each by itself"], share["first"]]
        shown.add(cells, figures)


if __name__ == "__main__":
    main()
