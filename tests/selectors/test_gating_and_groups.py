"""Gates on embeddings, and groups that features share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from concrete_selectors.gates.feature_groups import FeatureGroups
from concrete_selectors.gates.gating import FieldMeans, apply_gates, rows_to_groups
from concrete_selectors.segments import Segments
from hypothesis import given
from hypothesis import strategies as st

WIDTHS = pytest.mark.parametrize("widths", [[2, 2, 2], [1, 256, 3]], ids=["one width", "mixed"])


@WIDTHS
def test_gate_of_one_changes_nothing_and_zero_cuts_off(widths: list[int]) -> None:
    segments = Segments(widths)
    embedded, means = torch.randn(6, segments.total), torch.randn(segments.total)
    torch.testing.assert_close(apply_gates(embedded, torch.ones(3), means, segments), embedded)
    gated = apply_gates(embedded, torch.tensor([1.0, 0.0, 1.0]), means, segments)
    own = segments.span(1)
    torch.testing.assert_close(gated[:, own], means[own].expand(6, -1))
    others = segments.columns([0, 2])
    torch.testing.assert_close(gated[:, others], embedded[:, others])


@WIDTHS
def test_no_gradient_passes_a_closed_gate(widths: list[int]) -> None:
    segments = Segments(widths)
    embedded = torch.randn(4, segments.total, requires_grad=True)
    gates = torch.tensor([0.0, 1.0, 1.0])
    apply_gates(embedded, gates, torch.zeros(segments.total), segments).square().sum().backward()
    assert embedded.grad is not None
    assert embedded.grad[:, segments.span(0)].abs().sum() == 0
    assert embedded.grad[:, segments.columns([1, 2])].abs().min() > 0


def test_running_mean_follows_and_stays_detached() -> None:
    means = FieldMeans(momentum=0.5)
    first = means.update(torch.ones(4, 6, requires_grad=True))
    assert not first.requires_grad
    torch.testing.assert_close(means.update(torch.full((4, 6), 3.0)), torch.full((6,), 2.0))


def test_zero_replacement() -> None:
    assert FieldMeans(enabled=False).update(torch.ones(4, 6)).abs().sum() == 0


@pytest.mark.parametrize(("rows", "groups"), [(16, 4), (17, 4), (3, 3), (5, 1)])
def test_groups_are_contiguous_and_even(rows: int, groups: int) -> None:
    group = rows_to_groups(rows, groups, torch.device("cpu"))
    assert (group.diff() >= 0).all()
    counts = torch.bincount(group, minlength=groups)
    assert int(counts.max() - counts.min()) <= 1
    assert int(counts.min()) >= 1


def test_groups_of_features() -> None:
    groups = FeatureGroups(5, groups=[7, 3, 7, 3, 9], protected=[3], excluded=[4])
    assert (groups.n_groups, groups.n_usable) == (3, 2)
    assert groups.features([1, 0]).tolist() == [1, 3, 0, 2]
    assert groups.protected.tolist() == [False, True, False]
    assert groups.excluded.tolist() == [False, False, True]
    assert groups.feature_gates(torch.tensor([1.0, 2.0, 3.0])).tolist() == [1, 2, 1, 2, 3]
    assert groups.mean_features(torch.arange(5.0), name="prior").tolist() == [1, 2, 4]
    assert groups.mask(np.array([2]), torch.device("cpu")).tolist() == [0, 0, 1]


@given(st.permutations(range(8)), st.lists(st.integers(0, 4), min_size=8, max_size=8))
def test_the_order_of_groups_is_that_of_their_first_features(ranking: list[int], ids: list[int]) -> None:
    groups = FeatureGroups(8, groups=ids)
    seen = list(dict.fromkeys(int(groups.of_feature[feature]) for feature in ranking))
    order = groups.order_of(np.array(ranking))
    assert order.tolist() == seen
    for k in range(1, len(seen) + 1):
        assert groups.prefix(order, k).tolist() == [f for f in range(8) if groups.of_feature[f] in seen[:k]]


def test_protected_groups_come_first_and_excluded_ones_last() -> None:
    groups = FeatureGroups(5, protected=[3], excluded=[0])
    assert groups.ranked(np.array([9.0, 2.0, 3.0, -1.0, 3.0])).tolist() == [3, 2, 4, 1, 0]
    assert groups.order_of(np.array([0, 1, 2, 3, 4])).tolist() == [3, 1, 2, 4, 0]


def test_bad_groups_protected_and_prior() -> None:
    with pytest.raises(ValueError, match="groups: 2 ids for 3 features"):
        FeatureGroups(3, groups=[0, 1])
    with pytest.raises(ValueError, match="protected=3: features are numbered 0 to 2"):
        FeatureGroups(3, protected=[3])
    with pytest.raises(ValueError, match="prior: shape"):
        FeatureGroups(3).mean_features(torch.zeros(2), name="prior")
    with pytest.raises(ValueError, match="prior: contains NaN"):
        FeatureGroups(2).mean_features(torch.tensor([0.0, torch.nan]), name="prior")
