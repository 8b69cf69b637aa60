"""The audit's configuration: every key in one place, read from profile, files and command line."""

from feature_audit.config.audit_config import PROFILES, AuditConfig
from feature_audit.config.log_keys import KindName
from feature_audit.config.question_keys import DEFAULT_MARGIN, DEFAULT_METRIC, DEFAULT_SHARE, margin_of_scores
from feature_audit.config.sections import (
    ChecksConfig,
    EncodingConfig,
    ReaderConfig,
    SelectionConfig,
    TrainingConfig,
)

__all__ = [
    "DEFAULT_MARGIN",
    "DEFAULT_METRIC",
    "DEFAULT_SHARE",
    "PROFILES",
    "AuditConfig",
    "ChecksConfig",
    "EncodingConfig",
    "KindName",
    "ReaderConfig",
    "SelectionConfig",
    "TrainingConfig",
    "margin_of_scores",
]
