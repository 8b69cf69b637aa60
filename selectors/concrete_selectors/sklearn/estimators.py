"""The scikit-learn interface: concrete selectors for numeric tables."""

from __future__ import annotations

import warnings
from dataclasses import fields, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import _safe_indexing, check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from concrete_selectors.elimination.backward import BackwardElimination, stages
from concrete_selectors.elimination.surrogate import EmbeddingCache
from concrete_selectors.fit_path import CONVERGED_DUPLICATES, CONVERGED_PROBABILITY
from concrete_selectors.gates.concrete import ConcreteSelector
from concrete_selectors.segments import Segments
from concrete_selectors.sklearn.autoencoder import Noise, SlotSettings, decoder, train_slots
from concrete_selectors.sklearn.targets import Goal, Task, standardise
from concrete_selectors.sklearn.validation import check_parameters, checked_data, number_of_slots, number_to_select

#: Default number of epochs.
_EPOCHS = 100


class _ConcreteEstimator(SelectorMixin, BaseEstimator):
    """Shared code of both estimators; subclasses define the goal of the decoder."""

    _logits: Literal["cae", "ip_cae"]

    def __init__(
        self,
        n_features_to_select: int | None = None,
        *,
        hidden: tuple[int, ...] = (200,),
        epochs: int = _EPOCHS,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        selector_learning_rate: float | None = None,
        temperature_start: float = 10.0,
        temperature_end: float = 0.01,
        anneal_share: float = 1.0,
        noise: Noise = "batch",
        diversity: float = 0.0,
        random_state: Any = None,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.selector_learning_rate = selector_learning_rate
        self.temperature_start = temperature_start
        self.temperature_end = temperature_end
        self.anneal_share = anneal_share
        self.noise = noise
        self.diversity = diversity
        self.random_state = random_state

    def _fit_slots(
        self, x: np.ndarray, goal: Goal | None, *, rank: int | None = None, candidates: int | None = None
    ) -> None:
        """Train on a validated matrix; no goal = reconstruct the standardised matrix itself."""
        varies, scaled = standardise(x)
        n_features, n_varying = x.shape[1], int(varies.sum())
        k = number_to_select(self.n_features_to_select, n_features, n_varying)
        slots = number_of_slots(candidates, k, n_features, default=k if goal is None else 2 * k)
        slots = min(slots, n_varying)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        inputs = torch.as_tensor(scaled, dtype=torch.float32)
        goal = goal or Goal.reconstruction(inputs)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = decoder(slots, tuple(self.hidden), goal.n_outputs)
        selector = ConcreteSelector(
            x.shape[1],
            slots,
            kind=self._logits,
            rank=rank,
            blocked=torch.as_tensor(~varies),
            generator=torch.Generator().manual_seed(seed),
        )
        settings = self._settings(seed)
        self.loss_ = train_slots(selector, head, inputs, goal.target, loss=goal.loss, settings=settings)
        order = selector.assignment()
        if slots > k:
            order = _reduce(inputs, goal, order, down_to=k, seed=seed)
        self._read(selector, order, k)
        if not self.converged_:
            automatic = replace(settings, selector_learning_rate=None).rate(selector, len(inputs))
            self._warn(selector, k, automatic)

    def _settings(self, seed: int) -> SlotSettings:
        names = {field.name for field in fields(SlotSettings)} - {"seed"}
        return SlotSettings(**{name: getattr(self, name) for name in names}, seed=seed)

    def _read(self, selector: ConcreteSelector, order: np.ndarray, k: int) -> None:
        """Set the fitted attributes from a trained selector; ``order`` has its candidates, the k kept ones first."""
        scores = torch.logsumexp(torch.log_softmax(selector.logits().detach().double(), dim=-1), dim=0).numpy()
        self.support_ = np.zeros(len(scores), dtype=bool)
        self.support_[order[:k]] = True
        self.scores_ = scores
        by_score = np.argsort(-scores, kind="stable")
        rest = np.concatenate([order[k:], by_score[~np.isin(by_score, order)]])
        self.ranking_ = np.ones(len(scores), dtype=np.int64)
        self.ranking_[rest] = np.arange(2, len(rest) + 2)
        self.n_duplicate_argmax_ = selector.n_duplicate_argmax()
        self.mean_max_probability_ = selector.mean_max_probability()
        distinct = selector.n_slots - self.n_duplicate_argmax_
        certain = self.mean_max_probability_ >= CONVERGED_PROBABILITY
        self.converged_ = bool(certain and distinct >= (1 - CONVERGED_DUPLICATES) * k)

    def _warn(self, selector: ConcreteSelector, k: int, automatic: float) -> None:
        """Warn that the selector did not converge, with a remedy; ``automatic`` is the rate used for None."""
        given = self.selector_learning_rate
        slow = given is not None and given < automatic
        faster = f", or selector_learning_rate={automatic:.2g} instead of {given:g}" if slow else ""
        distinct = selector.n_slots - self.n_duplicate_argmax_
        warnings.warn(
            f"{type(self).__name__} did not converge: mean largest probability {self.mean_max_probability_:.3f} "
            f"(wanted {CONVERGED_PROBABILITY}), {selector.n_slots} slots agree on {distinct} features for K={k}; "
            f"try epochs={max(2 * self.epochs, _EPOCHS)}{faster}",
            ConvergenceWarning,
            stacklevel=4,
        )

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        return self.support_

    def transform(self, X: Any) -> Any:
        """Return the selected columns; a data frame keeps its type, dtypes and nulls.

        Args:
            X: (rows, N) array, pandas or Polars frame.

        Returns:
            (rows, K), in the container of the input unless ``set_output`` requests another.
        """
        check_is_fitted(self)
        if hasattr(X, "columns") and not isinstance(X, np.ndarray):
            validate_data(self, X, reset=False, skip_check_array=True)
            return _safe_indexing(X, np.flatnonzero(self.support_), axis=1)
        X = validate_data(self, X, dtype=None, ensure_all_finite="allow-nan", reset=False)
        return X[:, self.support_]

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return the columns to their original positions; columns that were not selected are zero.

        Args:
            X: (rows, K) array or frame of the selected columns; missing values stay missing.

        Raises:
            ValueError: X does not have K columns.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=None, ensure_all_finite="allow-nan")
        if X.shape[1] != self.support_.sum():
            raise ValueError(f"X has {X.shape[1]} columns; {self.support_.sum()} features were selected")
        out = np.zeros((len(X), len(self.support_)), dtype=X.dtype)
        out[:, self.support_] = X
        return out

    def __sklearn_tags__(self) -> Any:
        """Declare that missing values are allowed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class ConcreteAutoencoderSelector(_ConcreteEstimator):
    """Selects the K features that best reconstruct all others (Abid, Balin, Zou 2019, concrete autoencoders).

    Columns are standardised internally; a missing value is replaced by the mean of its column. Constant columns are
    never selected.

    Args:
        n_features_to_select: K; None = half of the features.
        hidden: widths of the decoder's hidden layers.
        epochs: passes over the rows.
        batch_size: rows per step.
        learning_rate: Adam learning rate of the decoder.
        selector_learning_rate: Adam learning rate of the logits; None = derived from the number of steps (the published
            1e-3 does not converge).
        temperature_start: temperature at the first step; it falls exponentially.
        temperature_end: temperature after annealing.
        anneal_share: share of the steps over which the temperature falls.
        noise: ``batch``, ``row``, or a number of groups of rows; one mask each.
        diversity: weight of the slots' generalised Jensen-Shannon divergence, 0 = off.
        random_state: seed or RandomState.

    Attributes:
        support_: (N,) bool.
        ranking_: (N,) int64, 1 = selected, then by score.
        scores_: (N,) float64, log of the expected number of slots that choose the feature.
        converged_: True if every slot is certain of its feature and few slots choose the same one.
        n_duplicate_argmax_, mean_max_probability_: the statistics behind ``converged_``.
        loss_: training loss of the last epoch.
        n_features_in_, feature_names_in_: as in scikit-learn.
    """

    _logits = "cae"

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the support from X (rows, N); ``y`` is ignored.

        Raises:
            ValueError: a parameter is outside its range, K does not fit X, or X contains inf, text or dates or has
                fewer than two rows.
        """
        check_parameters(self)
        x, _ = checked_data(self, X)
        self._fit_slots(x, None)
        return self


class IPCAESelector(_ConcreteEstimator):
    """Selects K features with indirectly parameterised logits (Nilsson et al. 2024, IP-CAE).

    Supervised if ``y`` is given (cross-entropy for classes, squared error for numbers), otherwise by reconstruction.
    ``task`` says which of the two ``y`` is. With ``task="auto"``, strings and booleans are classes, and numbers with
    fractions are quantities. Whole numbers (class codes? cents, milliseconds, counts?) are classes if there are two, or
    if each occurs at least as often as there are distinct values; unless the case is clear, a warning states the
    choice. Columns are standardised internally; a missing value is replaced by the mean of its column. Constant columns
    are never selected. Parameters that are not listed are those of ``ConcreteAutoencoderSelector``.

    Args:
        n_features_to_select: K; None = half of the features.
        task: ``classification``, ``regression``, or ``auto``: inferred from the values of ``y``.
        n_candidates: slots of the concrete training, K to N (at most the number of features that vary); if more than K,
            backward elimination reduces them to K, because slots on their own settle on near misses. None = 2 K with a
            target, K without; K = the published method.
        rank: P, embedding dimension of slots and features; None = ``max(64, n_candidates)``.
        noise: ``batch``, ``row`` (as published; slow), or a number of groups of rows; one mask each.

    Attributes:
        support_, ranking_, scores_, converged_, n_duplicate_argmax_, mean_max_probability_, loss_: as in
            ``ConcreteAutoencoderSelector``.
    """

    _logits = "ip_cae"

    def __init__(
        self,
        n_features_to_select: int | None = None,
        *,
        task: Task = "auto",
        n_candidates: int | None = None,
        rank: int | None = None,
        hidden: tuple[int, ...] = (200,),
        epochs: int = _EPOCHS,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        selector_learning_rate: float | None = None,
        temperature_start: float = 10.0,
        temperature_end: float = 0.01,
        anneal_share: float = 1.0,
        noise: Noise = 8,
        diversity: float = 0.0,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            n_features_to_select,
            hidden=hidden,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            selector_learning_rate=selector_learning_rate,
            temperature_start=temperature_start,
            temperature_end=temperature_end,
            anneal_share=anneal_share,
            noise=noise,
            diversity=diversity,
            random_state=random_state,
        )
        self.task, self.n_candidates, self.rank = task, n_candidates, rank

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the support from X (rows, N) and, if given, y (rows,).

        Raises:
            ValueError: a parameter is outside its range, K or ``n_candidates`` does not fit X, X contains inf, text or
                dates or has fewer than two rows, or y has one class or does not fit X or the task.
        """
        check_parameters(self)
        x, y = checked_data(self, X, y)
        goal = None if y is None else Goal.supervised(y, self.task)
        self._fit_slots(x, goal, rank=self.rank, candidates=self.n_candidates)
        return self


def _reduce(inputs: Tensor, goal: Goal, candidates: np.ndarray, *, down_to: int, seed: int) -> np.ndarray:
    """Candidates with the ``down_to`` kept ones first, then the eliminated ones from last to first.

    A random third of the rows is held out to judge removals.
    """
    values, segments = inputs[:, torch.as_tensor(candidates)], Segments(np.ones(len(candidates)))
    one, zero = torch.ones(goal.n_outputs), torch.zeros(goal.n_outputs)
    order = torch.as_tensor(np.random.default_rng(seed).permutation(len(inputs)))
    fitted, judged = order[len(order) // 3 :], order[: max(len(order) // 3, 1)]
    fit_rows, held_out = (
        EmbeddingCache(values[rows], segments, goal.target[rows], torch.tensor(1.0), zero, one, one_logit=False)
        for rows in (fitted, judged)
    )
    no_one = np.zeros(len(candidates), dtype=bool)
    elimination = BackwardElimination(fit_rows, held_out, fixed=no_one, loss=goal.loss, seed=seed)
    for size in stages(len(candidates), down_to):
        elimination.shrink(size)
    return candidates[np.concatenate([elimination.left, np.array(elimination.dropped[::-1], dtype=np.int64)])]
