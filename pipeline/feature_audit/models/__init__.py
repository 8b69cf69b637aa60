"""The model contract, the shipped models, training and prediction."""

from feature_audit.models.boosting_reference import boosting_scores
from feature_audit.models.build import MODELS, build_model, check_arguments
from feature_audit.models.contract import resolve_device
from feature_audit.models.custom.by_name import by_name
from feature_audit.models.custom.check import check_model
from feature_audit.models.custom.finding import ModelFinding
from feature_audit.models.custom.gated import GatedField, gated_table
from feature_audit.models.custom.source import is_installed, own_code, own_code_digest
from feature_audit.models.custom.widths import embedding_widths
from feature_audit.models.loss import row_loss, to_scores
from feature_audit.models.prediction import FORWARD_SHARE, mean_loss, predict, scores
from feature_audit.models.ranks import Ranks, joined
from feature_audit.models.training import Pace, train
from feature_audit.models.zoo.embedding import embedding_sizes

__all__ = [
    "FORWARD_SHARE",
    "MODELS",
    "GatedField",
    "ModelFinding",
    "Pace",
    "Ranks",
    "boosting_scores",
    "build_model",
    "by_name",
    "check_arguments",
    "check_model",
    "embedding_sizes",
    "embedding_widths",
    "gated_table",
    "is_installed",
    "joined",
    "mean_loss",
    "own_code",
    "own_code_digest",
    "predict",
    "resolve_device",
    "row_loss",
    "scores",
    "to_scores",
    "train",
]
