"""Paired statistics and the verdict: may the pruned model replace the full one?"""

from feature_audit.parity.ladder import fixed_sequence, proven_k
from feature_audit.parity.metrics import METRICS, Metric, metric
from feature_audit.parity.paired import paired_delta
from feature_audit.parity.sentences import percentage
from feature_audit.parity.slices import activity
from feature_audit.parity.spending import look_confidence
from feature_audit.parity.verdict import ParityResult, decide

__all__ = [
    "METRICS",
    "Metric",
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
