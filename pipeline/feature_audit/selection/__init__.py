"""Selection of K features with a trained model, and the evidence for K; the entry point is ``select_features``."""

from feature_audit.selection.constraints import Constraints, build_constraints
from feature_audit.selection.k.confirm import most_confirmations
from feature_audit.selection.k.rule import MOST_RUNGS, Criterion, KChoice, choose_k
from feature_audit.selection.plan import FullModel, SelectionPlan
from feature_audit.selection.redundancy import bin_numbers, label_information, number_categories, proxies
from feature_audit.selection.select import Selection, select_features
from feature_audit.selection.stability import nogueira_index, selection_frequency
from feature_audit.selection.study import Draw, SearchSpace, TrialResult, TrialRow, run_study
from feature_audit.selection.trial import SelectionObjective

__all__ = [
    "MOST_RUNGS",
    "Constraints",
    "Criterion",
    "Draw",
    "FullModel",
    "KChoice",
    "SearchSpace",
    "Selection",
    "SelectionObjective",
    "SelectionPlan",
    "TrialResult",
    "TrialRow",
    "bin_numbers",
    "build_constraints",
    "choose_k",
    "label_information",
    "most_confirmations",
    "nogueira_index",
    "number_categories",
    "proxies",
    "run_study",
    "select_features",
    "selection_frequency",
]
