"""The audit's configuration: every key in one place, read from profile, files and command line."""

from feature_audit.config.audit_config import PROFILES, AuditConfig
from feature_audit.config.question_keys import DEFAULT_METRIC, default_margin, margin_of_scores
from feature_audit.config.sections import TrainingConfig

__all__ = [
    "DEFAULT_METRIC",
    "PROFILES",
    "AuditConfig",
    "TrainingConfig",
    "default_margin",
    "margin_of_scores",
]
