"""Settings of a selection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class PathSettings:
    """How a path from ``k_max`` groups of features down to ``k_min`` is found.

    Attributes:
        k_max: slots of the concrete training: the most groups worth considering (protected ones included).
        k_min: elimination stops here.
        selector: ``ip_cae`` (indirect logits) or ``cae`` (direct logits).
        epochs: passes over train of the concrete training.
        finetune_epochs: passes over train that fit one network to nested sets (``concrete_selectors.fit_nested``).
        fewest_steps: optimiser steps of the concrete training at least: a logit moves by one per step at most, so small
            tables are passed over more often. Fine-tuning on nested sets takes at least half as many.
        temperature_start, temperature_end, anneal_share: see ``concrete_selectors.temperature``.
        network_learning_rate: Adam rate of the network, which is trained along.
        noise_masks: independent masks per batch, each for a share of the rows.
        mean_replacement: a closed gate feeds the feature's mean embedding; False = zero, as in the papers.
        seed: of noise, initial weights, and the rows that are cached.
        distillation: weight of the teacher's predictions against labels in what the surrogate and the nested network
            learn, 0 to 1.
        cached_rows: most train rows whose candidate embeddings are held in memory for the surrogate.
        judged_rows: most validation rows on which removals are judged.
    """

    k_max: int
    k_min: int = 1
    selector: Literal["ip_cae", "cae"] = "ip_cae"
    epochs: float = 1.5
    finetune_epochs: float = 0.75
    fewest_steps: int = 120
    temperature_start: float = 10.0
    temperature_end: float = 0.1
    anneal_share: float = 1.0
    network_learning_rate: float = 1e-3
    noise_masks: int = 16
    mean_replacement: bool = True
    seed: int = 0
    distillation: float = 0.85
    cached_rows: int = 40_000
    judged_rows: int = 32_768

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
            "epochs", "finetune_epochs", "fewest_steps", "network_learning_rate", "noise_masks", "cached_rows",
            "judged_rows",
        ):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)}: give a number above 0")
        if not 0 < self.anneal_share <= 1:
            raise ValueError(f"anneal_share={self.anneal_share}: give a number above 0, at most 1")
        start, end = self.temperature_start, self.temperature_end
        if not 0 < end <= start:
            raise ValueError(
                f"temperature_end={end}: temperatures fall; give a number above 0, at most temperature_start={start}"
            )
        if not 0 <= self.distillation <= 1:
            raise ValueError(f"distillation={self.distillation}: give a number from 0 to 1")
