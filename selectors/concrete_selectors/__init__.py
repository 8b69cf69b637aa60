"""Concrete feature selectors for torch models: CAE, IP-CAE and their peers, for every K from one training."""

from concrete_selectors.concrete import ConcreteSelector
from concrete_selectors.contract import Batches, EmbeddingModel, Loss
from concrete_selectors.path import SelectionPath, SelectionStopped, learn_path
from concrete_selectors.schedule import temperature
from concrete_selectors.settings import PathSettings

__all__ = [
    "Batches",
    "ConcreteSelector",
    "EmbeddingModel",
    "Loss",
    "PathSettings",
    "SelectionPath",
    "SelectionStopped",
    "learn_path",
    "temperature",
]
