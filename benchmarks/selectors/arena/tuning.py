"""Tuning of every selector: the same number of trials over its most important setting, chosen on validation rows."""

from __future__ import annotations

from typing import Any

#: Settings of the trials of a trained selector: the library's defaults, then longer and shorter trainings.
#: LightGBM chooses among three sizes of its trees by itself.
LENGTHS: list[dict[str, Any]] = [{}, {"epoch_share": 3.0}, {"epoch_share": 0.5}]
TRAINED = ("ip_cae", "cae", "l1_gates", "stg", "sequential_attention")
#: Rankers whose result does not depend on the seed, so that one run counts for all.
DETERMINISTIC = ("f_test", "mutual_information", "lightgbm_gain")
#: Rankers that run with one seed because they are the slowest (LassoNet trains a network for every penalty).
ONE_SEED = ("lassonet",)


def trials(selector: str, count: int) -> list[dict[str, Any]]:
    """Settings to try; selectors without a tuned setting have a single trial."""
    return LENGTHS[: max(count, 1)] if selector in TRAINED else LENGTHS[:1]
