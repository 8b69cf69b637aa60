"""What the user rules about features, before anything is learned: never_drop, always_drop, whole groups, the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.errors import AuditError
from feature_audit.schema import Column, Field, ModelSchema
from feature_audit.stages.load import budget, clipped_budget, protected_fields, ruled_out_fields, unit_ids

TABLES = {"a": "user", "b": "user", "c": "item", "d": "item", "e": None, "gone": "item"}


def prepared(*, stays: str = "", goes: str = "") -> Prepared:
    """Five usable features of two tables and one without; ``gone`` was excluded. Letters name protected, ruled out."""
    columns = tuple(
        Column(name, "numeric", "Float64", table, protected=name in stays.split(), ruled_out=name in goes.split())
        for name, table in TABLES.items()
    )
    schema = ModelSchema(tuple(Field(name, "numeric", 9) for name in "abcde"), "binary")
    return Prepared(Path(), schema, columns, (), {"gone": "constant"}, {}, {}, "", {}, {}, {}, "", "")


def config(**keys: Any) -> AuditConfig:
    return AuditConfig.model_validate({"groups": {"user": ["a", "b"], "item": ["c", "d", "gone"]}, **keys})


def test_single_features_follow_their_own_rule() -> None:
    made = prepared(stays="a", goes="c e")
    assert protected_fields(config(), made) == [0]
    assert ruled_out_fields(config(), made) == [2, 4]
    assert budget(config(), made) == (1, 3)
    assert unit_ids(config(), made) is None


def test_a_whole_group_follows_its_member() -> None:
    made = prepared(stays="a", goes="d")
    assert protected_fields(config(whole_groups="*"), made) == [0, 1]
    assert ruled_out_fields(config(whole_groups="*"), made) == [2, 3]
    assert budget(config(whole_groups="*"), made) == (2, 3)
    assert ruled_out_fields(config(whole_groups="user"), made) == [3]


def test_an_excluded_member_still_speaks_for_its_group() -> None:
    assert ruled_out_fields(config(whole_groups="item"), prepared(goes="gone")) == [2, 3]


@pytest.mark.parametrize(
    ("keys", "rules", "message"),
    [
        ({"whole_groups": "*"}, {"stays": "a", "goes": "b"}, "always_drop=b: never_drop keeps a, .* group user"),
        ({}, {"goes": "a b c d e"}, "always_drop: rules out all 5 usable features"),
        ({"k_min": 4}, {"goes": "c e"}, "k_min=4: only 3 .* usable .* 2 are dropped by rule.*k_min between 1 and 3"),
        ({"k": 9, "k_min": 6}, {}, "k_min=6: only 5 .* usable .1 of 6 were excluded.*give k_min between 1 and 5"),
        ({"k": 6, "k_min": 6}, {}, "k=k_min=6: only 5 features are usable .*give both between 1 and 5"),
        ({"k": 1}, {"stays": "a b"}, "k=1: never_drop protects 2 usable features"),
        ({"k": 1, "whole_groups": "*"}, {"stays": "a"}, "k=1: never_drop protects 2 usable features"),
    ],
)
def test_rules_that_cannot_all_hold_are_one_line(keys: dict[str, Any], rules: dict[str, str], message: str) -> None:
    with pytest.raises(AuditError, match=message) as caught:
        budget(config(**keys), prepared(**rules))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "rules", "expected"),
    [
        ({"k": 200}, {}, (1, 5)),
        ({"k": 6, "k_min": 5}, {}, (5, 5)),
        ({"k": 4}, {"goes": "c e"}, (1, 3)),
        ({"k": 200}, {"stays": "a b", "goes": "c"}, (2, 4)),
        ({"k": 200, "whole_groups": "*"}, {"goes": "a"}, (1, 3)),
        ({"k": 200, "selection": {"max_candidates": 2}}, {}, (1, 5)),  # a bound of `auto` only
    ],
)
def test_a_budget_above_what_there_is_is_clipped(
    keys: dict[str, Any], rules: dict[str, str], expected: tuple[int, int]
) -> None:
    asked, made = config(**keys), prepared(**rules)
    assert budget(asked, made) == expected
    said = clipped_budget(asked, made)
    assert said is not None
    assert said.startswith(f"k = {keys['k']} is no limit: only {expected[1]} features are usable (")


@pytest.mark.parametrize("keys", [{}, {"k": 5}, {"k": 1}, {"k_min": 5}])
def test_a_budget_that_bounds_is_not_talked_about(keys: dict[str, Any]) -> None:
    assert clipped_budget(config(**keys), prepared()) is None
