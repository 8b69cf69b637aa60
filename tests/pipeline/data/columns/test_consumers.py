"""Files that list the other consumers of features."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from feature_audit.data import read_consumers, readers_of
from feature_audit.errors import UsageError
from feature_audit.results import Readers
from feature_audit.schema import Column

COLUMNS = [
    Column("age", "numeric", "Int64", "user"),
    Column("city", "categorical", "String", "user"),
    Column("price", "numeric", "Float64", "item"),
    Column("hour", "numeric", "Int64"),
    Column("a:b", "numeric", "Int64"),
]


def readers(tmp_path: Path, name: str, text: str) -> Readers:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return readers_of(read_consumers(str(path)), COLUMNS, own="ours")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", "ranker: [age, price]\nads: [item]\nours: [hour]\n"),
        ("c.json", json.dumps({"ranker": ["age", "price"], "ads": "item", "ours": ["hour"]})),
        ("c.csv", "consumer,feature,table\nranker,age,\nranker,price,item\nads,,item\n\nours,hour,\n"),
        ("c.tsv", "\ufeffConsumer;table;feature\nranker;user;age\nranker;;price\nads;item;\n"),
    ],
)
def test_all_forms_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    found = readers(tmp_path, name, text)
    assert found.features == {"age": ["ranker"], "price": ["ranker", "ads"]}
    assert found.tables == {"item": ["ads"]}
    assert found.note == ""


def feast(*services: tuple[str, dict[str, list[str]]]) -> str:
    """The shape of `feast registry-dump`."""
    content = [
        {
            "meta": {"createdTimestamp": "2026-05-11T19:27:03.172622Z"},
            "spec": {
                "name": name,
                "features": [
                    {
                        "featureViewName": view,
                        "featureColumns": [{"name": one, "valueType": "INT64"} for one in columns],
                    }
                    for view, columns in views.items()
                ],
            },
        }
        for name, views in services
    ]
    return json.dumps({"entities": [], "featureServices": content, "featureViews": []})


def test_feature_services_of_a_feast_registry_are_consumers(tmp_path: Path) -> None:
    text = feast(("ranker", {"user": ["age"], "stats": ["age"]}), ("ours", {"user": ["city"]}), ("empty", {}))
    found = readers(tmp_path, "registry.json", text)
    assert found.features == {"age": ["ranker"]}
    assert found.tables == {}
    assert found.note == "Not in this log: stats:age."


def test_a_feature_that_the_log_lacks_still_needs_its_table(tmp_path: Path) -> None:
    found = readers(tmp_path, "registry.json", feast(("churn", {"user": ["tenure"]})))
    assert (found.features, found.tables) == ({}, {"user": ["churn"]})


def test_globs_and_names_with_colons(tmp_path: Path) -> None:
    found = readers(tmp_path, "c.yaml", "x: ['*e', 'a:b', 'a:c', 'zz*']\n")
    assert found.features == {"age": ["x"], "price": ["x"], "a:b": ["x"]}
    assert found.note == "Not in this log: a:c, zz*."


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("c.yaml", "", "contains no consumers"),
        ("c.yaml", "- a\n", "contains no consumers"),
        ("c.yaml", "a: {b: c}\n", "a: give a list"),
        ("c.yaml", "a: [1, 2]\n", "a: give a list"),
        ("c.yaml", "a: [b\n", "cannot be read"),
        ("c.json", "{", "cannot be read"),
        ("c.json", '{"featureServices": [{"name": "x"}]}', "not in the format of `feast registry-dump`"),
        ("c.json", '{"featureServices": {"x": 1}}', "not in the format of `feast registry-dump`"),
        ("c.csv", "model,feature\nx,age\n", "its header is `model,feature`"),
        ("c.csv", "consumer,feature\n,age\n", "line 2: the consumer, or what it reads, is missing"),
        ("c.csv", "consumer,feature\nx,\n", "line 2: the consumer, or what it reads, is missing"),
        ("c.csv", "", "its header is ``"),
    ],
)
def test_mistakes_are_one_line_with_the_file(tmp_path: Path, name: str, text: str, line: str) -> None:
    with pytest.raises(UsageError) as error:
        readers(tmp_path, name, text)
    assert line in str(error.value)
    assert f"consumers={tmp_path / name}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"consumers=.*nowhere\.yaml: cannot be read"):
        read_consumers(str(tmp_path / "nowhere.yaml"))
