"""The expected cost of an audit, reported before the selection starts; it is an estimate, not a limit."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from concrete_selectors import PathSettings, curve_sizes, expected_compute, gate_compute

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.fitting.allocation import asked_for, most_affordable
from feature_audit.fitting.trained import active, fresh_model, open_store
from feature_audit.models import FORWARD_SHARE, embedding_widths
from feature_audit.noninferiority import planning
from feature_audit.results import CostPlan
from feature_audit.selection import MOST_RUNGS, Constraints, SelectionPlan, most_confirmations
from feature_audit.stages.baseline import Baseline
from feature_audit.stages.select import plan_of, selected_share


def cost_plan(config: AuditConfig, prepared: Prepared, full: Baseline, constraints: Constraints) -> CostPlan:
    """The plan ``full model + R c + confirmations + (S pruned at each K to test, B full)``, in full trainings.

    A training on K features is assumed to take as many epochs as the full model, at its share of the parameters.

    Args:
        config: trials and seeds.
        prepared: the features.
        full: the full model, whose training sets the unit.
        constraints: the range of K.
    """
    names = np.asarray(prepared.schema.names)
    whole = active(config, prepared.schema)

    def share(k: int) -> float:
        return active(config, prepared.schema.keep(names[:k])) / whole

    store = open_store(config, prepared)
    widths = embedding_widths(fresh_model(config, prepared.schema, 0), prepared.schema)

    def selection(config: AuditConfig) -> tuple[SelectionPlan, float, float]:
        """The plan of the selection, and the cost of one trial and of the curve in full trainings."""
        plan, read = plan_of(config, store, constraints), selected_share(config, store)
        rows = {split: math.ceil(count * read) for split, count in prepared.rows.items()}
        found = _selection_trainings(plan, rows, constraints, whole, float(np.mean(widths)))
        return plan, found[0] / full.facts.compute, found[1] / full.facts.compute

    plan, trial, curve = selection(config)
    confirmations = 0 if constraints.is_fixed else most_confirmations(constraints.min_k, constraints.max_k)
    largest = min(constraints.max_k, len(names) - 1) or 1
    runs = config.trials if plan.searches else 1
    rungs = 1 if constraints.is_fixed else min(MOST_RUNGS, max(largest - constraints.min_k + 1, 1))
    allocations = planning.allocations(*asked_for(config))
    found = full.spent + runs * trial + curve
    low = found + bool(confirmations) * share(constraints.min_k)
    high = found + _confirmed_up_to(largest, confirmations, share)
    fewest, most = _price(allocations[0], share(constraints.min_k)), _price(allocations[-1], rungs * share(largest))
    low, high = low + fewest, high + max(min(most, most_affordable(sum(prepared.rows.values()), high)), fewest)
    each = full.facts.seconds
    text = _text(allocations, runs, trial, confirmations, rungs)
    if (read := selected_share(config, store)) < 1:
        _, trial_of_all, curve_of_all = selection(config.model_copy(update={"rows": None}))
        saved = runs * (trial_of_all - trial) + curve_of_all - curve
        text += f"; the selection reads {100 * read:.3g}% of the rows, which saves {saved:.2f} full trainings"
    if full.reference:
        text = f"1 reference model of {full.reference_cost:.2f} full trainings, {text}"
    elif not full.trainings:
        text = f"the full model is not trained, {text}"
    return CostPlan(text, low, high, low * each, high * each)


def _price(arms: tuple[int, int], share: float) -> float:
    """Cost of (pruned, full) trainings after the baseline, in full trainings."""
    return arms[0] * share + arms[1] - 1


def _selection_trainings(
    plan: SelectionPlan, rows: dict[str, int], constraints: Constraints, active_parameters: int, width: float
) -> tuple[float, float]:
    """Expected compute of one trial, and of the curve over K."""
    train, validation = rows["train"], rows["validation"]
    steps = math.ceil(train / plan.batch_size)
    concrete = max(PathSettings.fewest_steps, plan.epochs * steps) * plan.batch_size
    nested = max(PathSettings.fewest_steps / 2, PathSettings.finetune_epochs * steps) * plan.batch_size
    curve = nested + FORWARD_SHARE * len(curve_sizes(constraints.max_k, constraints.min_k)) * validation
    if not plan.searches:  # a baseline ranks by a few passes, or only by the table
        return FORWARD_SHARE * train * active_parameters, curve * active_parameters
    cached, judged = min(PathSettings.cached_rows, train), min(PathSettings.judged_rows, validation)
    forward = cached + judged + train / plan.trials  # the teacher is asked once for all trials
    slots = int(plan.space.point(0, plan.seed)["slots"])
    elimination = expected_compute(slots, width, cached, judged)
    units = constraints.n_features if constraints.groups is None else len(set(constraints.groups))
    gates = gate_compute(units, min(slots, units), kind=plan.selector, n_masks=PathSettings.noise_masks)
    gates *= concrete / plan.batch_size
    return (concrete + FORWARD_SHARE * forward) * active_parameters + gates + elimination, curve * active_parameters


def _confirmed_up_to(largest: int, confirmations: int, share: Callable[[int], float]) -> float:
    """Cost of the largest K plus the smaller ones before it, which together cost about the same again."""
    return share(largest) * min(confirmations, 2)


def _text(allocations: list[tuple[int, int]], runs: int, trial: float, confirmations: int, rungs: int) -> str:
    kind, each = ("run", "") if runs == 1 else ("runs", " each")
    parts = [f"{runs} selection {kind} of about {trial:.2f} full trainings{each}"]
    if confirmations:
        parts.append("1 confirmation of K" if confirmations == 1 else f"1 to {confirmations} confirmations of K")
    (fewest, least), (most, greatest) = allocations[0], allocations[-1]
    parts.append(
        f"{_range(fewest, most)} pruned models" + (f" for each of 1 to {rungs} values of K" if rungs > 1 else "")
    )
    if greatest > 1:
        parts.append(f"{_range(least - 1, greatest - 1)} additional full models")
    return ", ".join(parts)


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"
