"""What a selection may keep."""

from __future__ import annotations

from typing import Any

import pytest
from feature_audit.errors import AuditError
from feature_audit.schema import Column
from feature_audit.selection import Constraints, build_constraints


def column(name: str, **rules: Any) -> Column:
    return Column(name, "Float64", "numeric", **rules)


def built(columns: list[Column], names: list[str] | None = None, **given: Any) -> Constraints:
    settings: dict[str, Any] = {
        "k": "auto", "k_min": 1, "most_candidates": 256, "whole_groups": (), "table_costs": {}, **given,
    }  # fmt: skip
    return build_constraints(names or [column.name for column in columns], columns, **settings)


PLAIN = [column(f"f{place}") for place in range(10)]


@pytest.mark.parametrize(
    ("k", "k_min", "low", "high"),
    [("auto", 1, 1, 10), (4, 1, 1, 4), (200, 1, 1, 10), (7, 7, 7, 7), (8, 3, 3, 8), (10, 10, 10, 10)],
)
def test_the_range_of_k(k: Any, k_min: int, low: int, high: int) -> None:
    found = built(PLAIN, k=k, k_min=k_min)
    assert (found.min_k, found.max_k, found.is_fixed) == (low, high, low == high)
    assert (found.note is not None) == (k == 200), "a budget above what there is is no limit, and no mistake"


def test_auto_is_limited_by_the_candidates_and_a_budget_is_not() -> None:
    assert built(PLAIN, most_candidates=6).max_k == 6
    assert built(PLAIN, most_candidates=6, k=9).max_k == 9


def test_protected_and_excluded_features_by_their_places_among_the_usable_ones() -> None:
    columns = [column("gone"), column("a"), column("b", protected=True), column("c", ruled_out=True), column("d")]
    found = built(columns, ["a", "b", "c", "d"])
    assert (found.protected, found.excluded, found.n_features, found.max_k) == ((1,), (2,), 4, 3)
    assert found.groups is None


def test_a_whole_group_shares_every_rule_and_one_number() -> None:
    columns = [
        column("a", group="g"), column("b", group="h", ruled_out=True), column("c"),
        column("d", group="g", protected=True),
        column("e", group="h"), column("f", group="other"), column("h", group="other"),
    ]  # fmt: skip
    found = built(columns, whole_groups=("g", "h"))
    assert found.protected == (0, 3)
    assert found.excluded == (1, 4)
    assert found.groups == (0, 1, 2, 0, 1, 3, 4)
    assert built(columns, whole_groups=("*",)).groups == (0, 1, 2, 0, 1, 3, 3)
    assert found.min_k == 2, "what is protected is kept, so K is at least as large"
    assert found.prefix_sizes([0, 3, 2, 5, 6, 1, 4]) == [2, 3, 4, 5, 7]


def test_costs_lower_the_logits_and_a_table_shares_its_own() -> None:
    columns = [column("a", cost=3.0), column("b", group="t"), column("c", group="t", cost=1.0)]
    found = built(columns, table_costs={"t": 6.0})
    assert found.prior == pytest.approx((-0.75, -0.75, -1.0))
    assert built(PLAIN).prior is None


@pytest.mark.parametrize(
    ("columns", "given", "words"),
    [
        (PLAIN, {"k_min": 11}, ["k_min=11", "10 features are usable", "between 1 and 10"]),
        (PLAIN, {"k": 12, "k_min": 12}, ["k=k_min=12", "give both between 1 and 10"]),
        ([column("a", protected=True), column("b", protected=True)], {"k": 1}, ["k=1", "protects 2", "at least 2"]),
        ([column("a", ruled_out=True)], {}, ["always_drop", "excludes all 1"]),
        (
            [column("a", ruled_out=True, group="g"), column("b", protected=True, group="g")],
            {"whole_groups": ("g",)},
            ["always_drop=a", "never_drop keeps b", "group g"],
        ),
    ],
)
def test_what_cannot_be_met_is_refused_in_one_line(
    columns: list[Column], given: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(AuditError) as caught:
        built(columns, **given)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)
