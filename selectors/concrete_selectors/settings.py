"""Settings of one selection path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class PathSettings:
    """How a path from ``k_max`` features down to ``k_min`` is learned.

    Attributes:
        k_max: slots of the concrete training: the most features worth considering (protected ones included).
        k_min: elimination stops here.
        selector: ``ip_cae`` (indirect logits) or ``cae`` (direct logits).
        rank: P of the indirect logits; None = ``max(64, K)``.
        epochs: passes over train of the concrete training.
        fewest_steps: optimiser steps of the concrete training at least: small tables are passed over more often, for
            logits move by one per step at most. The fine-tuning takes at least half as many, or none.
        finetune_epochs: passes over train that fit the network to the nested sets of the path at the end.
        temperature_start, temperature_end, anneal_share: see :func:`concrete_selectors.temperature`.
        learning_rate: Adam rate of an indirect selector with P = 256; one step moves a logit by about ``205 * rate``.
            Other P and direct logits are scaled to the same movement. None = from the number of steps.
        speed: factor on the rate that the number of steps asks for; only where ``learning_rate`` is None.
        network_learning_rate: Adam rate of the network, which is trained along.
        noise_masks: independent masks per batch, each for a group of rows.
        mean_replacement: a closed gate feeds the field's mean embedding; False = zero, as in the papers.
        nested: half of the masks use only the first k slots, k log-uniform.
        seed: seeds initial logits, noise and subsets; data order is the caller's.
        prior_strength: logit_prior of units that the warm network alone would not make candidates; see
            :func:`concrete_selectors.saliency.screen.logit_prior`. 0 = all units start equal, as in the papers.
        screen: units that the surgeon would keep and that join the selector's candidates, in units of ``k_max``; the
            elimination chooses among both. 0 = the slots' candidates alone.
        trust: share of the trained model's expectations in what the elimination's surrogate (see
            :mod:`concrete_selectors.elimination.surrogate`) and the network of the curve learn. 0 = labels alone.
        cached_rows: most train rows whose candidate embeddings are held in memory to learn removals from.
        judged_rows: most validation rows on which removals are judged and the curve is measured.
        measure_curve: measure the loss at every K of the path; False for a caller who measures it by another metric.
    """

    k_max: int
    k_min: int = 1
    selector: Literal["ip_cae", "cae"] = "ip_cae"
    rank: int | None = None
    epochs: float = 1.5
    finetune_epochs: float = 0.75
    fewest_steps: int = 120
    temperature_start: float = 10.0
    temperature_end: float = 0.1
    anneal_share: float = 1.0
    learning_rate: float | None = None
    speed: float = 1.0
    network_learning_rate: float = 1e-3
    noise_masks: int = 16
    mean_replacement: bool = True
    nested: bool = True
    seed: int = 0
    prior_strength: float = 2.0
    screen: float = 1.0
    trust: float = 0.85
    cached_rows: int = 40_000
    judged_rows: int = 32_768
    measure_curve: bool = True

    def __post_init__(self) -> None:
        """Refuses values that no path can have.

        Raises:
            ValueError: naming the setting, its value and what to give instead.
        """
        if self.k_min < 1:
            raise ValueError(f"k_min={self.k_min}: keep at least 1 feature")
        if self.k_max < self.k_min:
            raise ValueError(f"k_max={self.k_max}: below k_min={self.k_min}; raise k_max or lower k_min")
        if self.selector not in ("ip_cae", "cae"):
            raise ValueError(f"selector={self.selector!r}: give ip_cae or cae")
        for name in (
            "epochs",
            "speed",
            "network_learning_rate",
            "noise_masks",
            "cached_rows",
            "judged_rows",
            "fewest_steps",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)}: give a number above 0")
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise ValueError(f"learning_rate={self.learning_rate}: give a number above 0, or None")
        for name in ("finetune_epochs", "prior_strength", "screen"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: give 0 or more")
        if not 0 < self.anneal_share <= 1:
            raise ValueError(f"anneal_share={self.anneal_share}: give a number above 0, at most 1")
        start, end = self.temperature_start, self.temperature_end
        if not 0 < end <= start:
            raise ValueError(
                f"temperature_end={end}: temperatures fall; give a number above 0, at most temperature_start={start}"
            )
        if not 0 <= self.trust <= 1:
            raise ValueError(f"trust={self.trust}: give a number from 0 to 1")
