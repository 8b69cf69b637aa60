"""Selectors that people would use instead, behind the same face as the concrete ones."""

from concrete_selectors.peers.ranking import SELECTORS, rank_with
from concrete_selectors.peers.tables import Matrix

__all__ = ["SELECTORS", "Matrix", "rank_with"]
