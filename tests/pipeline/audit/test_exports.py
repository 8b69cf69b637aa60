"""The kept list in the forms that production takes."""

from __future__ import annotations

import ast
import sqlite3

from feature_audit.audit.exports import feast_service, sql_select
from feature_audit.results import FeatureDecision


def kept(name: str, group: str | None = None) -> FeatureDecision:
    return FeatureDecision(name, 1, 0.0, 1.0, "keep", "signal", group=group)


def test_sql_runs_whatever_the_names_are() -> None:
    names = ["age", 'odd "name"', "select", "a,b"]
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
    for verdict, says in (("pass", "pass."), ("fail", "fail; this is what was tried, not a recommendation.")):
        for text, sign in (
            (sql_select([kept("age")], ["id"], verdict=verdict), "--"),
            (feast_service([kept("age")], "prune", verdict=verdict), "#"),
        ):
            assert text.splitlines()[0] == f"{sign} Verdict of the audit: {says}"
    assert ast.get_docstring(ast.parse(feast_service([kept("age")], "prune", verdict="fail")))
