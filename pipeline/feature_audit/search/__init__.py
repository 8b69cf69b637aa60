"""The Optuna study over selector settings, and the rule for K."""

from feature_audit.search.rule import KChoice, KPoint, choose_k
from feature_audit.search.study import SearchSpace, StudySummary, TrialResult, run_study

__all__ = ["KChoice", "KPoint", "SearchSpace", "StudySummary", "TrialResult", "choose_k", "run_study"]
