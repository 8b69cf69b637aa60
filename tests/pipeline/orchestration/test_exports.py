"""The list of kept features in the formats for production."""

from __future__ import annotations

import ast
import csv
import sqlite3
from pathlib import Path

import polars as pl
from feature_audit.data.written_tables import write_table
from feature_audit.orchestration.exports import feast_service, name_lines, sql_select
from feature_audit.results import FeatureDecision


def kept(name: str, group: str | None = None) -> FeatureDecision:
    return FeatureDecision(name, 1, 0.0, 1.0, "keep", "signal", group=group)


def test_sql_runs_whatever_the_names_are() -> None:
    names = ["age", 'odd "name"', "select\n1; -- '`<script>", "a,b"]
    connection = sqlite3.connect(":memory:")
    columns = ", ".join('"' + name.replace('"', '""') + '" REAL' for name in ["id", *names])
    connection.execute(f'CREATE TABLE "features" ({columns})')
    connection.execute('INSERT INTO "features" VALUES (1, 2, 3, 4, 5)')
    rows = connection.execute(sql_select([kept(name) for name in names], ["id"], verdict="pass")).fetchall()
    connection.close()
    assert rows == [(1.0, 2.0, 3.0, 4.0, 5.0)]


def test_feast_file_is_python_with_one_projection_per_source_table() -> None:
    text = feast_service(
        [kept("age", "user"), kept("x[1]", "2nd table"), kept("city", "user"), kept("loose"), kept("y", "class")],
        "prune v1",
        verdict="pass",
    )
    tree = ast.parse(text)
    imported = [name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names]
    assert imported == ["FeatureService", "user", "_2nd_table", "features", "class_"]
    assert "user[['age', 'city']]" in text
    assert "_2nd_table[['x[1]']]" in text


def test_both_begin_with_the_verdict_as_a_comment() -> None:
    for verdict, says in (("pass", "pass."), ("fail", "fail; this feature set was tested but is not recommended.")):
        for text, sign in (
            (sql_select([kept("age")], ["id"], verdict=verdict), "--"),
            (feast_service([kept("age")], "prune", verdict=verdict), "#"),
        ):
            assert text.splitlines()[0] == f"{sign} Verdict of the audit: {says}"
    assert ast.get_docstring(ast.parse(feast_service([kept("age")], "prune", verdict="fail")))


HOSTILE = [
    "class", "None", "FeatureService", "a b", "a-b", "a_b", "x²", "1st", "=cmd", "`rm`", "'''\n'''", 'x"\nimport os',
    "<script>", "日本", "ﬁ", "fi", "back\\slash", "",
]  # fmt: skip


def test_a_feast_file_is_python_whatever_the_names_are() -> None:
    """Every source table has a separate view, and the names of the features are those of the audit."""
    rows = [kept(f"f {name}", name) for name in HOSTILE]
    for service in HOSTILE:
        tree = ast.parse(feast_service(rows, service, verdict="pass"))
        imported = [one.name for node in tree.body if isinstance(node, ast.ImportFrom) for one in node.names]
        assert len(set(imported)) == len(imported) == len(rows) + 1
        call = tree.body.pop()
        assert isinstance(call, ast.Assign)
        names: dict[str, object] = {name: Projected() for name in imported}
        names["FeatureService"] = dict
        exec(compile(ast.Module([call], []), "service", "exec"), names)
        assert names[ast.unparse(call.targets[0])] == {"name": service, "features": [[row.feature] for row in rows]}


class Projected:
    """A feature view, whose projection is the list of requested names."""

    def __getitem__(self, names: list[str]) -> list[str]:
        return names


def test_a_list_of_names_has_as_many_lines_as_names() -> None:
    names = ["age", "two\nlines", "a\rb", "tab\t", "=cmd", "日本", "plain 'quoted'"]
    lines = name_lines(names).splitlines()
    assert lines == ["age", '"two\\nlines"', '"a\\rb"', '"tab\\t"', "=cmd", "日本", "plain 'quoted'"]


def test_a_csv_file_holds_no_formula_and_parquet_the_names_as_they_are(tmp_path: Path) -> None:
    names = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "plain", 'a,"b"', "a=b", "two\n=lines", None]
    rows = [{"feature": name, "cost": -1.5} for name in names]
    write_table(rows, tmp_path / "t.csv")
    write_table(rows, tmp_path / "t.parquet")
    assert pl.read_parquet(tmp_path / "t.parquet")["feature"].to_list() == names
    with (tmp_path / "t.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert [cell["cost"] for cell in cells] == ["-1.5"] * len(names)
    assert [cell["feature"] for cell in cells] == [*(f"'{name}" for name in names[:5]), *names[5:9], ""]
