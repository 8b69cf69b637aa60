"""The user's rules about features, before any training: never_drop, always_drop, whole groups, the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.errors import AuditError
from feature_audit.schema import Column, Field, ModelSchema
from feature_audit.stages.select import constraints_of

TABLES = {"a": "user", "b": "user", "c": "item", "d": "item", "e": None, "gone": "item"}


def prepared(*, stays: str = "", goes: str = "") -> Prepared:
    """Five features of two tables and one of none; ``gone`` is excluded. Letters list protected and ruled-out ones."""
    columns = tuple(
        Column(name, "numeric", "Float64", table, protected=name in stays.split(), ruled_out=name in goes.split())
        for name, table in TABLES.items()
    )
    schema = ModelSchema(tuple(Field(name, "numeric", 9) for name in "abcde"), "binary")
    return Prepared(Path(), schema, columns, (), {"gone": "constant"}, {}, {}, "", {}, {}, {}, "", "")


def config(**keys: Any) -> AuditConfig:
    return AuditConfig.model_validate({"groups": {"user": ["a", "b"], "item": ["c", "d", "gone"]}, **keys})


def test_keep_and_drop_rules_apply_to_single_features() -> None:
    found = constraints_of(config(), prepared(stays="a", goes="c e"))
    assert (found.protected, found.excluded) == ((0,), (2, 4))
    assert (found.min_k, found.max_k) == (1, 3)
    assert found.groups is None


def test_a_whole_group_follows_its_member() -> None:
    made = prepared(stays="a", goes="d")
    found = constraints_of(config(whole_groups="*"), made)
    assert (found.protected, found.excluded) == ((0, 1), (2, 3))
    assert (found.min_k, found.max_k) == (2, 3)
    assert constraints_of(config(whole_groups="user"), made).excluded == (3,)


def test_rules_of_an_excluded_member_apply_to_its_group() -> None:
    assert constraints_of(config(whole_groups="item"), prepared(goes="gone")).excluded == (2, 3)


@pytest.mark.parametrize(
    ("keys", "rules", "message"),
    [
        ({"whole_groups": "*"}, {"stays": "a", "goes": "b"}, "always_drop=b: never_drop keeps a, .* group user"),
        ({}, {"goes": "a b c d e"}, "always_drop: excludes all 5 usable features"),
        ({"k_min": 4}, {"goes": "c e"}, "k_min=4: only 3 .* usable .* 2 dropped by always_drop.*k_min between 1 and 3"),
        (
            {"k": 9, "k_min": 6},
            {},
            "k_min=6: only 5 .* usable .1 of 6 columns are constant.*give k_min between 1 and 5",
        ),
        ({"k": 6, "k_min": 6}, {}, "k=k_min=6: only 5 features are usable .*give both between 1 and 5"),
        ({"k": 1}, {"stays": "a b"}, "k=1: never_drop protects 2 usable features"),
        ({"k": 1, "whole_groups": "*"}, {"stays": "a"}, "k=1: never_drop protects 2 usable features"),
    ],
)
def test_rules_that_cannot_all_hold_are_one_line(keys: dict[str, Any], rules: dict[str, str], message: str) -> None:
    with pytest.raises(AuditError, match=message) as caught:
        constraints_of(config(**keys), prepared(**rules))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "rules", "expected"),
    [
        ({"k": 200}, {}, (1, 5)),
        ({"k": 6, "k_min": 5}, {}, (5, 5)),
        ({"k": 4}, {"goes": "c e"}, (1, 3)),
        ({"k": 200}, {"stays": "a b", "goes": "c"}, (2, 4)),
        ({"k": 200, "whole_groups": "*"}, {"goes": "a"}, (1, 3)),
        ({"k": 200, "selection": {"max_candidates": 2}}, {}, (1, 5)),  # limits only `auto`
    ],
)
def test_a_budget_above_what_there_is_is_clipped(
    keys: dict[str, Any], rules: dict[str, str], expected: tuple[int, int]
) -> None:
    found = constraints_of(config(**keys), prepared(**rules))
    assert (found.min_k, found.max_k) == expected
    assert found.note is not None
    assert found.note.startswith(f"k = {keys['k']} has no effect: only {expected[1]} features are usable (")


@pytest.mark.parametrize("keys", [{}, {"k": 5}, {"k": 1}, {"k_min": 5}])
def test_a_budget_within_the_limits_needs_no_note(keys: dict[str, Any]) -> None:
    assert constraints_of(config(**keys), prepared()).note is None
