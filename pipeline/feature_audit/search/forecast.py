"""What a retraining at some K will find, from the masked curve and the retrainings so far.

The curve comes from one network that sees masked inputs and is off by a difference that moves slowly with K: such a
network has to serve every K at once, a retrained one serves its own. So the curve is moved up or down until it meets
what retrainings found, and read off at the other K.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from feature_audit.search.rule import KPoint


def forecast(k: int, curve: Sequence[KPoint], retrained: Sequence[KPoint]) -> KPoint:
    """The point expected at ``k``; its ``metric`` is NaN.

    Estimates differ from the curve's by what they differed by at the nearest K that were retrained (linear in log K
    between two, level beyond them), standard errors by a factor that is found in the same way.

    Args:
        k: at least 1.
        curve: the masked curve, at least one point; flat beyond its ends.
        retrained: at least one point.
    """
    known = sorted(retrained, key=lambda point: point.k)
    delta, error = _reader(curve, "delta"), _reader(curve, "std_error")
    shift = [point.delta - delta(point.k) for point in known]
    factor = [point.std_error / error(point.k) if error(point.k) > 0 else 1.0 for point in known]
    ks = [math.log(point.k) for point in known]
    here = math.log(k)
    return KPoint(
        k, math.nan, delta(k) + float(np.interp(here, ks, shift)), error(k) * float(np.interp(here, ks, factor))
    )


def _reader(curve: Sequence[KPoint], name: str) -> Callable[[int], float]:
    """Reads one figure off the curve, linear in log K."""
    points = sorted(curve, key=lambda point: point.k)
    ks, values = [math.log(point.k) for point in points], [getattr(point, name) for point in points]
    return lambda k: float(np.interp(math.log(k), ks, values))
