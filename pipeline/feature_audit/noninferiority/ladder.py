"""Several K tested in an order fixed beforehand, each at the full level: fixed-sequence testing.

Testing stops at the first K that does not pass. Whatever is true, a false pass needs the first K that loses too much to
pass, and that has the probability of one test: the error over all K together is the level of one, without a correction
(Maurer, Hothorn, Lehmacher 1995; Westfall and Krishen 2001). It takes an order that no test row has had a part in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from feature_audit.errors import AuditError
from feature_audit.noninferiority.verdict import ParityResult

log = logging.getLogger(__name__)


def fixed_sequence(ks: Sequence[int], judge: Callable[[int], ParityResult]) -> dict[int, ParityResult]:
    """Judge one K after the other, up to the first that does not pass.

    Args:
        ks: in the order of testing, at least one, all different.
        judge: gives the verdict of a K, guards included, at the level of a single test.

    Returns:
        K -> result of those that were judged, in the order of testing. A K that cannot be judged, as with scores that
        are no numbers, is not among them and ends the testing.

    Raises:
        AuditError: the first K cannot be judged.
    """
    results: dict[int, ParityResult] = {}
    for k in ks:
        try:
            results[k] = judge(k)
        except AuditError as error:
            if not results:
                raise
            log.warning("parity: K = %d cannot be tested, so testing stops there: %s", k, error)
            return results
        if results[k].verdict != "pass":
            break
    return results


def proven_k(results: Mapping[int, ParityResult]) -> int:
    """The last K that passed; where not even the first one did, that one, whose verdict is then the audit's."""
    first, *_ = results
    return [first, *(k for k, result in results.items() if result.verdict == "pass")][-1]
