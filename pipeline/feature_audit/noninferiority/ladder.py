"""Fixed-sequence testing: several K are tested in a predefined order, each at the full level.

Testing stops at the first K that does not pass. In every case, a false pass requires that the first K that loses too
much passes, which has the error probability of one test. The error over all K is therefore that of one test, without a
correction (Maurer, Hothorn, Lehmacher 1995; Westfall and Krishen 2001). The order must not depend on any test row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from feature_audit.errors import AuditError
from feature_audit.noninferiority.verdict import ParityResult

log = logging.getLogger(__name__)


def fixed_sequence(ks: Sequence[int], judge: Callable[[int], ParityResult]) -> dict[int, ParityResult]:
    """Test one K after the other, up to the first that does not pass.

    Args:
        ks: in the order of testing, at least one, all different.
        judge: returns the verdict of a K, including guards, at the level of a single test.

    Returns:
        K -> result of those that were tested, in order. A K that cannot be tested, for example because of invalid
        scores, is not included and ends the testing.

    Raises:
        AuditError: the first K cannot be tested.
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
    """The last K that passed; if the first one did not pass, that one, whose verdict is then the audit's."""
    first, *_ = results
    return [first, *(k for k, result in results.items() if result.verdict == "pass")][-1]
