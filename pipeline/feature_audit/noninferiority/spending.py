"""Error spending over looks at the same test rows: alpha spending for planned looks, the remainder for unplanned ones.

An interval spends ``PASS_SHARE`` of its error on the end that decides a pass. All planned looks together have the error
of a single one. The remainder, ``1 - PASS_SHARE``, is for unplanned looks, each of which uses half of what is left.
In every case and for any dependence between the looks, at most ``1 - confidence`` of all audits are false passes: the
levels are added up (Bonferroni), so the correlation between the looks need not be known.
"""

from __future__ import annotations

from scipy import special

from feature_audit.noninferiority.intervals import PASS_SHARE

_LEAST = 1e-12  # a level at which no look passes; below it, 1 - level would round to 1


def look_confidence(confidence: float, look: int, planned: int = 1) -> float:
    """Confidence of one look.

    Args:
        confidence: confidence of all looks together, e.g. 0.95; a single planned look has all of it.
        look: number of the look, from 1.
        planned: number of looks planned before the first. They spend the error as in Lan and DeMets (1983) with
            O'Brien-Fleming boundaries: little on early looks, so that the last one is nearly as wide as a single one.
    """
    alpha = 1 - confidence
    if look > planned:
        level = (1 - PASS_SHARE) * alpha / 2 ** min(look - planned, 1000)
    elif planned == 1:
        level = alpha
    else:
        level = _spent(alpha, look / planned) - _spent(alpha, (look - 1) / planned)
    return 1 - max(level, _LEAST)


def _spent(alpha: float, information: float) -> float:
    """Error spent at this share of the information: ``2 - 2 Phi(z / sqrt(information))``."""
    if information <= 0:
        return 0.0
    return float(2 * special.ndtr(special.ndtri(alpha / 2) / information**0.5))
