"""Concrete feature selectors for torch models: CAE, IP-CAE and baselines, for every K from one training."""

from concrete_selectors.baselines import SELECTORS, Matrix, rank_with
from concrete_selectors.elimination.backward import expected_compute
from concrete_selectors.feature_gate import FeatureGate
from concrete_selectors.fit_path import SelectionStopped, fit_path
from concrete_selectors.gates.concrete import ConcreteSelector, gate_compute
from concrete_selectors.gates.schedule import temperature
from concrete_selectors.nested import NestedModel, curve_sizes, fit_nested
from concrete_selectors.plotting import plot_path
from concrete_selectors.protocols import Batches, EmbeddingModel, Loss, TeacherProtocol
from concrete_selectors.selection_path import SelectionPath
from concrete_selectors.settings import PathSettings
from concrete_selectors.sklearn.estimators import ConcreteAutoencoderSelector, IPCAESelector
from concrete_selectors.task import SelectionTask
from concrete_selectors.teacher import Teacher

__all__ = [
    "SELECTORS",
    "Batches",
    "ConcreteAutoencoderSelector",
    "ConcreteSelector",
    "EmbeddingModel",
    "FeatureGate",
    "IPCAESelector",
    "Loss",
    "Matrix",
    "NestedModel",
    "PathSettings",
    "SelectionPath",
    "SelectionStopped",
    "SelectionTask",
    "Teacher",
    "TeacherProtocol",
    "curve_sizes",
    "expected_compute",
    "fit_nested",
    "fit_path",
    "gate_compute",
    "plot_path",
    "rank_with",
    "temperature",
]
