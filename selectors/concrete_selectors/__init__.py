"""Concrete feature selectors for torch models: CAE, IP-CAE and their peers, for every K from one training."""

from concrete_selectors.baselines import SELECTORS, rank_with
from concrete_selectors.context import SelectionStopped
from concrete_selectors.fit_path import learn_path
from concrete_selectors.gates.concrete import ConcreteSelector
from concrete_selectors.gates.schedule import temperature
from concrete_selectors.protocols import Batches, EmbeddingModel, Loss, TeacherProtocol
from concrete_selectors.selection_path import SelectionPath
from concrete_selectors.settings import PathSettings
from concrete_selectors.sklearn.estimators import ConcreteAutoencoderSelector, IPCAESelector
from concrete_selectors.teacher import Teacher

__all__ = [
    "SELECTORS",
    "Batches",
    "ConcreteAutoencoderSelector",
    "ConcreteSelector",
    "EmbeddingModel",
    "IPCAESelector",
    "Loss",
    "PathSettings",
    "SelectionPath",
    "SelectionStopped",
    "Teacher",
    "TeacherProtocol",
    "learn_path",
    "rank_with",
    "temperature",
]
