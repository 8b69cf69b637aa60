"""Concrete feature selectors for torch models: CAE, IP-CAE and their peers, for every K from one training."""

from concrete_selectors.concrete import ConcreteSelector
from concrete_selectors.contract import Batches, EmbeddingModel, Expect, Loss
from concrete_selectors.estimators import ConcreteAutoencoderSelector, IPCAESelector
from concrete_selectors.expectations import Expectations
from concrete_selectors.path import learn_path
from concrete_selectors.peers import SELECTORS, rank_with
from concrete_selectors.result import SelectionPath
from concrete_selectors.run import SelectionStopped
from concrete_selectors.schedule import temperature
from concrete_selectors.settings import PathSettings

__all__ = [
    "SELECTORS",
    "Batches",
    "ConcreteAutoencoderSelector",
    "ConcreteSelector",
    "EmbeddingModel",
    "Expect",
    "Expectations",
    "IPCAESelector",
    "Loss",
    "PathSettings",
    "SelectionPath",
    "SelectionStopped",
    "learn_path",
    "rank_with",
    "temperature",
]
