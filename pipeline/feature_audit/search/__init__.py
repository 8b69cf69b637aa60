"""The Optuna study over selector settings, the rule for K, and what a selection says about features."""

from feature_audit.search.association import Carriers, bin_columns, carriers, label_information
from feature_audit.search.consensus import consensus, voters
from feature_audit.search.forecast import forecast
from feature_audit.search.rule import KChoice, KPoint, best_point, choose_k, satisfies
from feature_audit.search.stability import nogueira_index, selection_frequency
from feature_audit.search.study import SearchSpace, StudySummary, TrialResult, run_study

__all__ = [
    "Carriers",
    "KChoice",
    "KPoint",
    "SearchSpace",
    "StudySummary",
    "TrialResult",
    "best_point",
    "bin_columns",
    "carriers",
    "choose_k",
    "consensus",
    "forecast",
    "label_information",
    "nogueira_index",
    "run_study",
    "satisfies",
    "selection_frequency",
    "voters",
]
