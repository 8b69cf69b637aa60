"""Promotion, rollback and history on a real registry (sqlite in a temporary folder)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from feature_audit.config import AuditConfig
from feature_audit.errors import AuditError, UsageError
from feature_audit.orchestration import promotion, publish
from feature_audit.results import Verdict
from feature_audit.tracking import Run, registry
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models.utils import _enforce_schema
from registered import PASSED, alias, make_model
from report_factory import make_report
from stores import store_in

NAME = "ranker"


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with store_in(tmp_path_factory.mktemp("registry")):
        yield


@pytest.fixture
def client() -> Iterator[MlflowClient]:
    client = make_model(NAME, [PASSED | {"audit.verdict": verdict} for verdict in ("pass", "pass", "inconclusive")])
    client.set_registered_model_alias(NAME, registry.CANDIDATE, "1")
    yield client
    client.delete_registered_model(NAME)


def test_promote_moves_the_alias_and_rollback_puts_it_back(client: MlflowClient) -> None:
    assert "version 1" in promotion.promote(NAME, None, force=False, reason=None)
    assert alias(NAME) == "1"
    promotion.promote(NAME, "2", force=False, reason=None)
    assert alias(NAME) == "2"
    assert client.get_model_version(NAME, "2").tags["audit.replaced"] == "1"
    assert promotion.rollback(NAME) == f"{NAME} is back at production version 1; version 2 was removed"
    assert alias(NAME) == "1"
    assert promotion.rollback(NAME) == f"{NAME} has no production version again; version 1 was removed"
    assert alias(NAME) is None
    with pytest.raises(AuditError, match="no promotion to roll back"):
        promotion.rollback(NAME)
    assert [line.split()[1] for line in promotion.history(NAME)] == ["promote", "promote", "rollback", "rollback"]


def test_only_a_pass_is_promoted_unless_forced_with_a_reason(client: MlflowClient) -> None:
    with pytest.raises(AuditError, match="its verdict is inconclusive, not pass"):
        promotion.promote(NAME, "3", force=False, reason=None)
    with pytest.raises(AuditError, match="give a reason"):
        promotion.promote(NAME, "3", force=True, reason=None)
    assert alias(NAME) is None
    assert "agreed with Kim" in promotion.promote(NAME, "3", force=True, reason="agreed with Kim")
    assert "agreed with Kim" in promotion.history(NAME)[-1]
    assert alias(NAME) == "3"


def test_a_version_that_an_earlier_release_withdrew_cannot_be_promoted(client: MlflowClient) -> None:
    client.set_model_version_tag(NAME, "1", "audit.verdict", "withdrawn")
    with pytest.raises(AuditError, match="its verdict is withdrawn, not pass"):
        promotion.promote(NAME, "1", force=False, reason=None)


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_an_audit_that_does_not_pass_leaves_the_registry_as_it_is(client: MlflowClient, verdict: Verdict) -> None:
    run, nothing = Run(client.create_run("0").info.run_id), cast("Any", None)  # no model is trained or required
    aliases, report = client.get_registered_model(NAME).aliases, make_report(verdict)
    assert publish.recommend(run, AuditConfig(), nothing, nothing, report, "key") == report
    assert client.get_registered_model(NAME).aliases == aliases
    assert client.get_model_version(NAME, "1").tags["audit.verdict"] == "pass"


def register_again(client: MlflowClient, key: str, folder: Path) -> str:
    """Register with an audit's key; the folder has no model, so no new version can be created from it."""
    return registry.register(
        run_id=client.create_run("0").info.run_id,
        model_name=NAME,
        artifacts=folder / "none",
        code=[],
        inputs=[registry.RawInput("age", "Int64")],
        example=pl.DataFrame({"age": [1]}),
        tags={"audit.key": key},
        describe=lambda address: f"about {address}",
    )


def test_a_version_is_used_again_only_where_its_own_audit_passed_and_stands(
    client: MlflowClient, tmp_path: Path
) -> None:
    for version, key in (("1", "here"), ("2", "withdrawn"), ("3", "undecided")):
        client.set_model_version_tag(NAME, version, "audit.key", key)
    client.delete_registered_model_alias(NAME, registry.CANDIDATE)
    client.set_model_version_tag(NAME, "2", "audit.verdict", "withdrawn")
    for key in ("withdrawn", "undecided", "unheard of"):
        with pytest.raises(AuditError, match=f"model_name={NAME}"):
            register_again(client, key, tmp_path)
        assert registry.CANDIDATE not in client.get_registered_model(NAME).aliases
    assert register_again(client, "here", tmp_path) == f"models:/{NAME}/1"
    assert str(client.get_registered_model(NAME).aliases[registry.CANDIDATE]) == "1"
    assert client.get_model_version(NAME, "1").description == f"about models:/{NAME}/1"


def test_unknown_names_are_one_line(client: MlflowClient) -> None:
    for call in (
        lambda: promotion.promote("nobody", None, force=False, reason=None),
        lambda: promotion.promote(NAME, "99", force=False, reason=None),
        lambda: promotion.rollback("nobody"),
    ):
        with pytest.raises(AuditError) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert "no such" in str(caught.value)


FRAME = pl.DataFrame(
    {
        "age": [30, 40, 50],
        "age_gap": [1, None, 3],
        "income": [1.5, None, 2.0],
        "city": ["a", None, "b"],
        "tier": pl.Series(["x", "y", None], dtype=pl.Categorical),
        "id": pl.Series([1, 2, 3], dtype=pl.UInt64),
        "taste": pl.Series([[0.1, 0.2], None, [0.3, 0.4]], dtype=pl.Array(pl.Float32, 2)),
        "tags": [["a"], [], None],
        "seen": [datetime(2026, 1, 1)] * 3,
        "seen_utc": pl.Series([datetime(2026, 1, 1)] * 3).dt.replace_time_zone("UTC"),
        "new": [True, False, True],
        "old": [True, None, False],
    },
    strict=False,
)


def test_signature_accepts_every_slice_of_the_raw_columns_as_pandas() -> None:
    inputs = [registry.RawInput(name, str(FRAME[name].dtype)) for name in FRAME.columns]
    schema = registry.signature_of(inputs).inputs
    assert schema.input_names() == FRAME.columns
    for rows in (FRAME, FRAME.head(1), FRAME.slice(1, 1)):
        checked = _enforce_schema(rows.to_pandas(), schema)
        assert list(checked.columns) == FRAME.columns
    assert str(schema.input_dict()["city"].type) == "DataType.string"
    assert schema.required_input_names() == FRAME.columns
    with pytest.raises(MlflowException, match=r"missing inputs \['city'\]"):
        _enforce_schema(FRAME.drop("city").to_pandas(), schema)


def test_an_example_is_strict_json_and_fits_the_signature() -> None:
    inputs = [registry.RawInput(name, str(FRAME[name].dtype)) for name in FRAME.columns]
    for rows in (FRAME, FRAME.slice(1, 1)):
        example = registry.example_of(rows.with_columns(income=pl.Series([float("nan")] * len(rows))))
        text = example.to_json(orient="split", date_format="iso")
        json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
        _enforce_schema(example, registry.signature_of(inputs).inputs)


@pytest.mark.parametrize("name", ["ads/ctr", "a:b", "a?b", "", "  ", ".", "..", "tab\there", "x" * 257])
def test_a_name_that_no_registry_takes_is_refused_with_one_that_it_takes(name: str, client: MlflowClient) -> None:
    with pytest.raises(UsageError, match="model_name=") as caught:
        registry.check_name(name)
    line = str(caught.value)
    assert "\n" not in line
    registry.check_name(line.rsplit("give one such as ", 1)[1])


@pytest.mark.parametrize("name", ["it's", "ads.ctr", 'say "so"', "größe 2", "a#b", "a@b", "a%b"])
def test_a_name_that_mlflow_takes_is_found_again(name: str, client: MlflowClient, tmp_path: Path) -> None:
    registry.check_name(name)
    registry.check_ready(name)
    client.create_registered_model(name)
    client.create_model_version(name, source=str(tmp_path), tags={"audit.verdict": "pass"})
    promotion.promote(name, "1", force=False, reason=None)
    assert str(client.get_model_version_by_alias(name, "production").version) == "1"
    client.delete_registered_model(name)
