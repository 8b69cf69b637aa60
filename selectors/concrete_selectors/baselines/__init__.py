"""Baseline selectors, behind the same interface as the concrete ones."""

from concrete_selectors.baselines.ranking import SELECTORS, UNWEIGHTED, rank_with
from concrete_selectors.baselines.tables import Matrix

__all__ = ["SELECTORS", "UNWEIGHTED", "Matrix", "rank_with"]
