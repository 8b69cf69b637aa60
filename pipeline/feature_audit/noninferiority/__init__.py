"""Paired statistics and the non-inferiority verdict: may the pruned model replace the full one?"""

from feature_audit.noninferiority.ladder import fixed_sequence, proven_k
from feature_audit.noninferiority.metrics import METRICS, metric
from feature_audit.noninferiority.paired import paired_delta
from feature_audit.noninferiority.sentences import percentage
from feature_audit.noninferiority.slices import Coded, activity
from feature_audit.noninferiority.spending import look_confidence
from feature_audit.noninferiority.verdict import ParityResult, decide

__all__ = [
    "METRICS",
    "Coded",
    "ParityResult",
    "activity",
    "decide",
    "fixed_sequence",
    "look_confidence",
    "metric",
    "paired_delta",
    "percentage",
    "proven_k",
]
