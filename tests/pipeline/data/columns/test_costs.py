"""Costs of features and tables, from the configuration or from a CSV file: what is read, and one line per mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_helpers import every_kind, prepared_of
from feature_audit.config import AuditConfig
from feature_audit.data.columns.costs import Costs, read_costs
from feature_audit.data.prepare import data_digest
from feature_audit.errors import AuditError

COLUMNS = ("ctr_1d", "ctr_7d", "price", "user")
TABLES = ("history", "user")


def sheet(folder: Path, text: str) -> str:
    path = folder / "costs.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "text",
    [
        "feature,table,cost\nctr_*,,2\nctr_7d,,5.5\n,history,1e3\n",
        "Feature; Table ;owner;COST\n\nctr_*;;ann;2\nctr_7d;;bob;5.5\n;history;;1000\n",
        "\ufefffeature\ttable\tcost\r\nctr_*\t\t2\r\nctr_7d\t\t5.5\r\n\thistory\t1000",
    ],
)
def test_a_cost_sheet_in_the_usual_spellings_is_read(tmp_path: Path, text: str) -> None:
    costs = read_costs(sheet(tmp_path, text), COLUMNS, TABLES)
    assert costs == Costs({"ctr_*": 2.0, "ctr_7d": 5.5}, {"history": 1000.0})
    assert [costs.of(name) for name in COLUMNS] == [2.0, 5.5, 0.0, 0.0], "an exact name wins over a glob"


def test_a_mapping_may_name_columns_globs_and_tables() -> None:
    assert read_costs({"price": 1, "ctr_*": 2, "history": 9}, COLUMNS, TABLES) == Costs(
        {"price": 1.0, "ctr_*": 2.0}, {"history": 9.0}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("feature,cost\nprice,-1\n", r"costs\.csv, line 2: cost '-1' is not a number of 0 or more; write it like"),
        ("feature,cost\nprice,1\nctr_7d,many\n", r"line 3: cost 'many' is not a number"),
        ("feature;cost\nprice;1,5\n", r"line 2: cost '1,5' is not a number of 0 or more; write it like 1234\.5"),
        ("feature,cost\nprice\n", r"line 2: cost '' is not a number"),
        ("feature,cost\nprice,inf\n", r"line 2: cost 'inf' is not a number"),
        ("feature,cost\nprise,1\n", r"line 2: prise: no such column; did you mean price\?; fix or remove the row"),
        ("feature,cost\nzz_*,1\n", r"line 2: zz_\*: no column matches"),
        ("table,cost\nhistry,1\n", r"line 2: no table histry; groups has history, user"),
        ("feature,cost\nprice,1\nprice,2\n", r"line 3: price already has a cost"),
        ("feature,table,cost\nprice,history,1\n", r"line 2: names both a feature and a table"),
        ("feature,cost\n,1\n", r"line 2: names nothing"),
        ("name,price\na,1\n", r"its header is `name,price`; it needs the columns feature \(or table\) and cost"),
        ("", r"its header is ``"),
    ],
)
def test_a_mistake_in_a_sheet_is_one_line_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AuditError, match=message) as caught:
        read_costs(sheet(tmp_path, text), COLUMNS, TABLES)
    assert "\n" not in str(caught.value)
    assert "costs.csv" in str(caught.value)


def test_a_name_that_could_be_two_things_is_refused() -> None:
    with pytest.raises(AuditError, match=r"cost\.user: both a column and a table have this name"):
        read_costs({"user": 1}, COLUMNS, TABLES)


def test_costs_reach_the_columns_and_an_edited_sheet_is_new_data(tmp_path: Path) -> None:
    cost = sheet(tmp_path, "feature,table,cost\namount,,4\n,shop,50\n")
    keys = {"cost": cost, "groups": {"shop": ["shop_*"]}}
    made, _ = prepared_of(every_kind(), tmp_path, **keys)
    assert {column.name: column.cost for column in made.columns if column.cost} == {"amount": 4.0}
    assert made.table_costs == {"shop": 50.0}
    assert type(made).load(made.directory).table_costs == {"shop": 50.0}
    config = AuditConfig.model_validate({"data": str(tmp_path / "log.parquet"), "target": "y", **keys})
    before = data_digest(config, config.data)
    assert before == made.digest
    sheet(tmp_path, "feature,table,cost\namount,,5\n,shop,50\n")
    assert data_digest(config, config.data) != before
