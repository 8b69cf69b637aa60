"""Settings of a selection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class PathSettings:
    """Settings for a path from ``k_max`` groups of features down to ``k_min``.

    Attributes:
        k_max: number of slots of the concrete training: the largest K to consider (including protected groups).
        k_min: smallest K, where the elimination stops.
        selector: ``ip_cae`` (indirect logits) or ``cae`` (direct logits).
        epochs: epochs of the concrete training.
        finetune_epochs: epochs of fine-tuning one network on nested sets (``concrete_selectors.fit_nested``).
        fewest_steps: minimum number of optimiser steps of the concrete training: a logit moves by at most one per step,
            so small tables get more epochs. Fine-tuning on nested sets takes at least half as many.
        temperature_start, temperature_end, anneal_share: see ``concrete_selectors.temperature``.
        network_learning_rate: Adam learning rate of the network, which is trained together with the slots.
        noise_masks: independent masks per batch, each for a share of the rows.
        mean_replacement: a closed gate feeds the feature's mean embedding; False = zero, as in the papers.
        seed: seed of the noise, the initial weights and the choice of cached rows.
        distillation: weight of the teacher's predictions relative to the labels in the loss of the surrogate and the
            nested network, 0 to 1.
        cached_rows: maximum number of train rows whose candidate embeddings are cached in memory for the surrogate.
        judged_rows: maximum number of validation rows on which removals are judged.
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
        """Refuse invalid values.

        Raises:
            ValueError: a value is out of range; the message has the setting, its value and the remedy.
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
                f"temperature_end={end}: must not rise; give a number above 0, at most temperature_start={start}"
            )
        if not 0 <= self.distillation <= 1:
            raise ValueError(f"distillation={self.distillation}: give a number from 0 to 1")
