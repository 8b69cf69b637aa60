"""What a stage spent, in units of the baseline's own training (``fitting.compute``): the limit of a whole audit."""

from __future__ import annotations

import math

from feature_audit.config import AuditConfig

#: What a whole audit may cost in full trainings, by profile: what is ``auto`` becomes less where it would be exceeded.
MOST_FULL_TRAININGS = {"quick": 3.0, "default": 6.0, "thorough": math.inf}
#: Retrainings that ``seeds = auto`` means, and to how few they may shrink.
AUTO_SEEDS, FEWEST_SEEDS = 5, 3


def work_left(config: AuditConfig, full: float, spent: float) -> float:
    """What the profile's limit leaves after the full model's training and the work ``spent`` since."""
    return (MOST_FULL_TRAININGS[config.profile] - 1) * full - spent
