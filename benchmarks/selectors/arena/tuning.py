"""Every selector's tuning: the same number of trials over the knob that matters most for it, chosen on validation."""

from __future__ import annotations

from typing import Any

#: Selector -> settings of its trials, the library's defaults first. The rates are those of the selector's own logits
#: (``speed`` multiplies what the number of steps asks for); gates and attention are trained for shorter or longer.
TRIALS: dict[str, list[dict[str, Any]]] = {
    "ip_cae": [{}, {"speed": 0.33}, {"speed": 3.0}],
    "cae": [{}, {"speed": 0.33}, {"speed": 3.0}],
    "l1_gates": [{}, {"epoch_share": 3.0}, {"epoch_share": 0.5}],
    "stg": [{}, {"epoch_share": 3.0}, {"epoch_share": 0.5}],
    "sequential_attention": [{}, {"epoch_share": 3.0}, {"epoch_share": 0.5}],
}
#: Rankers whose result does not depend on a seed: one run stands for all seeds.
DETERMINISTIC = ("f_test", "mutual_information", "lightgbm_gain")
#: Rankers that run with one seed because they take longest (LassoNet retrains a network for every penalty).
ONE_SEED = ("lassonet",)
#: Of the others, those that need no curve: their time is that of the ranking alone.
NO_CURVE = {"finetune_epochs": 0.0}


def trials(selector: str, count: int) -> list[dict[str, Any]]:
    """Settings to try, at least one; selectors without a knob have one."""
    given = TRIALS.get(selector, [{}])[: max(count, 1)]
    return given if selector in ("ip_cae", "cae") else [NO_CURVE | changes for changes in given]
