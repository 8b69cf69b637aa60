"""Planned audits with known truth: pass rates, numbers of trainings, and the effect of planning on the error rate.

python benchmarks/parity/planned.py                      # the tables of docs/results/error-rates.md
python benchmarks/parity/planned.py --simulations 200    # a quick run
python benchmarks/parity/planned.py --csv FILE           # raw figures, unrounded

A metric is the mean of one value per user, so that an audit takes a millisecond; its noise has the same size as for
scores of 2,000 users in ``world.py``. Validation has three quarters of the test users and the same trainings with the
same seed effects; the selection's confirmation is one more pruned training, compared with the first full one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from feature_audit.noninferiority import planning
from feature_audit.noninferiority.components import Components, components
from feature_audit.noninferiority.forecast import forecast
from feature_audit.noninferiority.intervals import conclude
from world import seed_effects

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

MARGIN, CONFIDENCE, RATIO = 0.002, 0.95, 0.75
USERS = {"test": 400, "validation": 300}
#: Standard errors on the test users: of the part common to both models, and of the part specific to a training.
PRECISE, USUAL = (0.0002, 0.000155), (0.00034, 0.00027)


@dataclass(frozen=True)
class Case:
    """One simulated situation.

    Attributes:
        name: for the table.
        truth: quality of the pruned model over trainings less that of the full one.
        seed_noise: standard deviation of a training's quality; ``full_noise`` times that for the full model.
        noise: law of the seed noise, see ``world.Design``.
        rows: see ``PRECISE``.
        optimism: bias of the confirmation, because K was chosen where it looked good.
        share: cost of a pruned training as a share of a full one.
        seeds, baseline_seeds: None = planned.
        ks: number of K that are trained together.
    """

    name: str
    truth: float = 0.0
    seed_noise: float = 0.0007
    full_noise: float = 1.0
    noise: str = "normal"
    rows: tuple[float, float] = PRECISE
    optimism: float = 0.0
    share: float = 0.25
    seeds: int | None = None
    baseline_seeds: int | None = None
    ks: int = 1
    deployed: bool = False


@dataclass(frozen=True)
class Split:
    """Values of the users of one split: pruned models (K, trainings, users), full model (trainings, users)."""

    pruned: np.ndarray
    full: np.ndarray

    def parts(self, arms: tuple[int, int], *, deployed: bool) -> list[Components]:
        full = self.full[: arms[1]]
        return [
            components(_influence(one), _influence(full), one.mean(axis=1), full.mean(axis=1), deployed=deployed)
            for one in self.pruned[:, : arms[0]]
        ]

    def delta(self, arms: tuple[int, int]) -> float:
        return float(self.pruned[0, : arms[0]].mean() - self.full[: arms[1]].mean())


def _influence(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=1, keepdims=True)) / values.shape[1]


def draw(case: Case, rng: np.random.Generator) -> tuple[dict[str, Split], tuple[float, float]]:
    """Draw both splits of one audit, and the estimate of the confirmation."""
    most = planning.MOST
    small = case.truth + case.seed_noise * seed_effects(case.noise, (case.ks, most + 1), rng)
    full = case.seed_noise * case.full_noise * seed_effects(case.noise, most, rng)
    common, own = case.rows
    splits = {}
    for name, ratio in (("test", 1.0), ("validation", RATIO)):
        users = USERS[name]
        scale = np.sqrt(users / ratio)
        shared = common * scale * rng.standard_normal(users)
        splits[name] = Split(
            small[..., None] + shared + own * scale * rng.standard_normal((case.ks, most + 1, users)),
            full[:, None] + own * scale * rng.standard_normal((most, users)),
        )
    seen = splits["validation"]
    differences = seen.pruned[0, -1] - seen.full[0]
    estimate = float(differences.mean()) + case.optimism, float(differences.std() / np.sqrt(USERS["validation"]))
    return splits, estimate


def audit(case: Case, rng: np.random.Generator) -> tuple[bool, tuple[int, int], float]:
    """Plan and judge one audit: whether it passed, its numbers of trainings, and the predicted chance."""
    splits, estimate = draw(case, rng)
    question = planning.Question(MARGIN, CONFIDENCE, 1 / RATIO)

    def look(arms: tuple[int, int]) -> planning.Outlook:
        return planning.outlook(splits["validation"].parts(arms, deployed=case.deployed), arms, question, estimate)

    options = planning.allocations(case.seeds, 1 if case.deployed else case.baseline_seeds)
    _, arms = planning.choose(options, look, lambda arms: price(case, arms))
    parts = splits["test"].parts(arms, deployed=case.deployed)[0]
    verdict = conclude(splits["test"].delta(arms), parts, MARGIN, CONFIDENCE).verdict
    return verdict == "pass", arms, forecast(look(arms), arms).chance


def price(case: Case, arms: tuple[int, int]) -> float:
    return arms[0] * case.ks * case.share + arms[1] - 1


def tables() -> Iterator[tuple[str, list[Case]]]:
    """Title and rows."""
    noises = (0.0, 0.0002, 0.0004, 0.0007, 0.001, 0.002)
    yield (
        "Power: identical models",
        [Case(f"seed noise {noise:g}", seed_noise=noise) for noise in noises]
        + [
            Case("seed noise 0.0007, a third as many test users", rows=USUAL),
            Case("seed noise 0.0007, a surplus of 0.02", truth=0.02),
            Case("seed noise 0.003, a surplus of 0.02", truth=0.02, seed_noise=0.003),
            Case("seed noise 0.0007, 3 K trained together", ks=3),
            Case("seed noise 0.0007, against deployed", deployed=True, full_noise=0.0),
        ],
    )
    lost = Case("", truth=-MARGIN)
    yield (
        "Error: a loss of the margin",
        [
            *(replace(lost, name=f"seed noise {noise:g}", seed_noise=noise) for noise in noises),
            replace(lost, name="a third as many test users", rows=USUAL),
            replace(lost, name="validation too optimistic by the margin", optimism=MARGIN),
            replace(lost, name="heavy-tailed seed noise (t, 3 df)", noise="t3"),
            replace(lost, name="skewed seed noise (now and then a bad training)", noise="skewed"),
            replace(lost, name="the full model's seed noise is twice the pruned one's", full_noise=2.0),
            replace(lost, name="the full model's seed noise is half the pruned one's", full_noise=0.5),
            replace(lost, name="3 K trained together", ks=3),
            replace(lost, name="against deployed", deployed=True, full_noise=0.0),
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=10_000, help="simulated audits per row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    csv_option(parser)
    given = parser.parse_args()
    for title, cases in tables():
        print(f"\n**{title}** ({given.simulations:,} simulated audits a row)\n")
        head = "situation", "passes", "chance predicted", "full trainings after the first", "trainings (pruned + full)"
        shown = Table(head, given.csv)
        for case in (case for case in cases if given.only in case.name):
            rng = np.random.default_rng([given.seed, *case.name.encode()])
            found = [audit(case, rng) for _ in range(given.simulations)]
            chosen = [arms for _, arms, _ in found]
            counts = {arms: chosen.count(arms) for arms in sorted(set(chosen))}
            mix = ", ".join(
                f"{pruned} + {full}: {count / len(found):.0%}"
                for (pruned, full), count in counts.items()
                if count >= 0.005 * len(found)
            )
            passed, chance = sum(one for one, _, _ in found), float(np.mean([one for _, _, one in found]))
            cost = float(np.mean([price(case, arms) for arms in chosen]))
            shown.add(
                [case.name, f"**{passed / len(found):.1%}**", f"{chance:.0%}", f"{cost:.1f}", mix],
                {
                    "table": title, "situation": case.name, "simulations": len(found), "passed": passed,
                    "chance predicted": chance, "full trainings after the first": cost,
                    "audits by trainings": "; ".join(f"{arms[0]} + {arms[1]}: {n}" for arms, n in counts.items()),
                },
            )  # fmt: skip


if __name__ == "__main__":
    main()
