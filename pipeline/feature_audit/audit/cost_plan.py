"""What an audit will cost, said before the selection begins; nothing is cut to meet it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from concrete_selectors import PathSettings

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.fitting.compute import FORWARD_SHARE
from feature_audit.fitting.trained import Trained, active
from feature_audit.results import CostPlan
from feature_audit.selection import Constraints, most_confirmations

#: A trial's surrogate and elimination cost about this share of what its passes through the model cost (measured: .2 to
#: .6 on the tables of docs/audits.md); a guess to plan by.
_ELIMINATION_SHARE = 0.4


def cost_plan(config: AuditConfig, prepared: Prepared, full: Trained, constraints: Constraints) -> CostPlan:
    """The plan ``1 + R c + confirmations + (S pruned, B full)``, in full trainings and seconds.

    A training on K features is taken to last as many epochs as the full model's, at the share of its parameters.

    Args:
        config: trials and seeds.
        prepared: the features.
        full: the full model's training, which sets the unit.
        constraints: the range of K.
    """
    names = np.asarray(prepared.schema.names)
    whole = active(config, prepared.schema)

    def share(k: int) -> float:
        return active(config, prepared.schema.keep(names[:k])) / whole

    trial = trial_trainings(config, prepared.rows["train"], full)
    confirmations = 0 if constraints.is_fixed else most_confirmations(range(constraints.min_k, constraints.max_k + 1))
    largest = min(constraints.max_k, len(names) - 1) or 1
    common = 1 + config.trials * trial + (config.baseline_seeds - 1)
    low = common + (config.seeds + bool(confirmations)) * share(constraints.min_k)
    high = common + config.seeds * share(largest) + _confirmed_up_to(largest, confirmations, share)
    each = full.facts.seconds
    return CostPlan(_text(config, trial, confirmations), low, high, low * each, high * each)


def trial_trainings(config: AuditConfig, rows: int, full: Trained) -> float:
    """What a trial is expected to cost, in full trainings, by its passes over the train rows."""
    passes = config.selection.epochs + PathSettings.finetune_epochs / config.trials + FORWARD_SHARE
    return (1 + _ELIMINATION_SHARE) * passes * rows / full.facts.examples


def _confirmed_up_to(largest: int, confirmations: int, share: Callable[[int], float]) -> float:
    """The largest K and, before it, smaller ones in growing steps, which together cost about as much again."""
    return share(largest) * min(confirmations, 2)


def _text(config: AuditConfig, trial: float, confirmations: int) -> str:
    parts = [f"{config.trials} selection {'run' if config.trials == 1 else 'runs'} of about {trial:.2f} full trainings"]
    if confirmations:
        parts.append("1 confirmation of K" if confirmations == 1 else f"1 to {confirmations} confirmations of K")
    parts.append(f"{config.seeds} pruned models")
    if config.baseline_seeds > 1:
        parts.append(f"{config.baseline_seeds - 1} more full models")
    return ", ".join(parts)
