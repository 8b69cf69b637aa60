"""How looks at the same test rows share one error: planned ones by alpha spending, unplanned ones by what is left.

An interval spends ``PASS_SHARE`` of its error on the end where a pass is decided. The planned looks together have the
error of a single one; the rest of it, ``1 - PASS_SHARE``, is for unplanned looks, half of what is left each
time. Whatever is tried, and however the looks hang together, at most ``1 - confidence`` of all audits come to a false
pass: the levels are simply added up (Bonferroni), so that no correlation between the looks needs to be known.
"""

from __future__ import annotations

from scipy import special

from feature_audit.noninferiority.intervals import PASS_SHARE

_LEAST = 1e-12  # a level that nothing passes; below it 1 - level would be 1


def look_confidence(confidence: float, look: int, planned: int = 1) -> float:
    """Confidence at which one look is judged.

    Args:
        confidence: of all looks together, e.g. 0.95; a single planned look has all of it.
        look: which one, counted from 1.
        planned: looks that were planned before the first. They spend the error as Lan and DeMets (1983) do after
            O'Brien and Fleming: little on early looks, so that the last one is nearly as wide as a single one.
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
    """Error spent when this share of the information is in: ``2 - 2 Phi(z / sqrt(information))``."""
    if information <= 0:
        return 0.0
    return float(2 * special.ndtr(special.ndtri(alpha / 2) / information**0.5))
