"""Selectors that people would use instead, behind the same face as the concrete ones."""

from concrete_selectors.baselines.ranking import SELECTORS, rank_with

__all__ = ["SELECTORS", "rank_with"]
