"""The registered model on rows from a client: every digit counts, and missing columns are reported."""

from __future__ import annotations

import datetime as dt
import decimal
import gc
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from feature_audit.config import AuditConfig
from feature_audit.data import prepare
from feature_audit.errors import AuditError
from feature_audit.models import build_model
from feature_audit.models.custom.user_model import UserModel
from feature_audit.schema import Field, ModelSchema
from feature_audit.tracking import pyfunc_model
from feature_audit.tracking.pyfunc_model import PrunedModel
from feature_audit.tracking.registry import RawInput, signature_of
from mlflow.pyfunc.scoring_server import _parse_json_data

KEYS = [2**63 + 3 * number for number in range(20)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of a version: an untrained model over long ids, lists of them, written prices and a number."""
    folder = tmp_path_factory.mktemp("version")
    rng = np.random.default_rng(0)
    who = rng.integers(0, 20, (2_000, 2))
    frame = pl.DataFrame(
        {
            "user": [KEYS[one] for one, _ in who],
            "items": [[KEYS[one], KEYS[other]] for one, other in who],
            "price": [f"${value:,.2f}" for value in np.exp(rng.normal(6, 1, 2_000))],
            "age": rng.integers(18, 90, 2_000),
            "y": rng.integers(0, 2, 2_000),
        },
        schema_overrides={"user": pl.UInt64, "items": pl.List(pl.UInt64)},
    )
    frame.write_parquet(folder / "log.parquet")
    made = prepare(
        AuditConfig.model_validate({"data": str(folder / "log.parquet"), "target": "y", "model": "mlp"}),
        folder / "store",
    )
    assert {column.name: column.kind for column in made.columns} == {
        "user": "categorical", "items": "multi", "price": "numeric", "age": "numeric",
    }  # fmt: skip
    torch.manual_seed(0)
    torch.save(build_model("mlp", made.schema, embedding_dim=4, params={}).state_dict(), folder / "weights.pt")
    (folder / "encoders.json").write_bytes((folder / "store" / "encoders.json").read_bytes())
    spec = {
        "model": "mlp", "embedding_dim": 4, "params": {}, "attach": None, "task": made.schema.task,
        "n_classes": made.schema.n_classes, "fields": [asdict(field) for field in made.schema.fields],
        "dtypes": {column.name: column.dtype for column in made.columns},
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(spec))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> PrunedModel:
    made = PrunedModel()
    made.load_context(SimpleNamespace(artifacts={"pruned": str(folder)}))
    return made


def row(number: int, **other: object) -> dict[str, object]:
    return {"user": KEYS[number], "items": [KEYS[number], KEYS[0]], "price": "$1,234.50", "age": 30} | other


def test_long_ids_stay_distinct_in_every_request_format(model: PrunedModel, folder: Path) -> None:
    rows = [row(number) for number in range(20)]
    scores = model.predict(None, pl.DataFrame(rows, schema_overrides={"user": pl.UInt64}))
    assert len(np.unique(scores)) == 20
    as_text = [one | {"user": str(one["user"])} for one in rows]
    for sent in (rows, pd.DataFrame(rows), as_text, pd.DataFrame(as_text)):
        np.testing.assert_array_equal(model.predict(None, sent), scores)
    mixed = pd.DataFrame([*rows[:3], *as_text[3:]])
    np.testing.assert_array_equal(model.predict(None, mixed), scores)
    dtypes = json.loads((folder / "model.json").read_text())["dtypes"]
    schema = signature_of([RawInput(name, dtype) for name, dtype in dtypes.items()]).inputs
    parsed = _parse_json_data(json.dumps({"dataframe_records": rows}), None, schema).data
    np.testing.assert_array_equal(model.predict(None, parsed), scores)


def test_what_cannot_be_read_is_one_line_and_no_score(model: PrunedModel) -> None:
    beside_null = pd.DataFrame([row(1), row(2, user=None)])  # pandas converts both to floats
    with pytest.raises(AuditError, match=r"column user .*floats cannot distinguish its long codes"):
        model.predict(None, beside_null)
    for bad in ("old", "30,5", pd.Timestamp("2024-05-01")):
        with pytest.raises(AuditError, match=r"column age: .* is not a number"):
            model.predict(None, [row(1), row(2, age=bad)] if isinstance(bad, str) else pd.DataFrame([row(1, age=bad)]))
    with pytest.raises(AuditError, match=r"column price: '1\.234,50 €' .* is not a number"):
        model.predict(None, [row(1, price="1.234,50 €")])


def test_a_price_scores_alike_as_text_and_as_a_number(model: PrunedModel) -> None:
    scores = model.predict(None, [row(1), row(1, price="1234.5"), row(1, price="$1234.5")])
    assert len(set(scores.tolist())) == 1
    assert model.predict(None, pd.DataFrame([row(1, price=1234.5)]))[0] == scores[0]
    assert model.predict(None, [row(1, price="$9.00")])[0] != scores[0]


COLUMNS = {
    "int8": pd.Series([1, 2], dtype="int8"),
    "uint64": pd.Series([2**63 + 1, 2], dtype="uint64"),
    "float16": pd.Series([1, 2], dtype="float16"),
    "float32": pd.Series([1.5, np.nan], dtype="float32"),
    "float64": pd.Series([np.nan, 2]),
    "bool": pd.Series([True, False]),
    "Int64": pd.Series([1, None], dtype="Int64"),
    "boolean": pd.Series([True, None], dtype="boolean"),
    "texts": pd.Series(["a", "é"]),
    "text and null": pd.Series(["a", None]),
    "string": pd.Series(["a", None], dtype="string"),
    "objects": pd.Series(["a", "b"], dtype=object),
    "text and NaN": pd.Series(["a", np.nan], dtype=object),
    "integers and null": pd.Series([1, None], dtype=object),
    "floats and NaN": pd.Series([1.5, np.nan], dtype=object),
    "nulls": pd.Series([None, None], dtype=object),
    "NaNs": pd.Series([np.nan, np.nan], dtype=object),
    "category": pd.Series(["a", "b"], dtype="category"),
    "moments": pd.to_datetime(pd.Series(["2020-01-01", None])),
    "moments of a zone": pd.to_datetime(pd.Series(["2020-01-01", None]), utc=True),
    "dates": pd.Series([dt.date(2020, 1, 1), None], dtype=object),
    "durations": pd.to_timedelta(pd.Series([1, 2]), unit="s"),
    "decimals": pd.Series([decimal.Decimal("1.5"), None], dtype=object),
    "lists": pd.Series([[1, 2], None], dtype=object),
    "arrays": pd.Series([np.array([1.0, 2.0]), np.array([1.0, 3.0])], dtype=object),
    "NumPy's text": pd.Series([np.str_("a"), "b"], dtype=object),
}


@pytest.mark.filterwarnings("ignore:Series.values returning:Warning")  # inside Polars, of zones
@pytest.mark.parametrize("names", [*([name] for name in COLUMNS), ["texts", "objects"], list(COLUMNS)])
def test_few_rows_of_pandas_are_read_as_many_are(names: list[str]) -> None:
    for rows in (slice(0, 2), slice(0, 1), slice(1, 2), slice(0, 0)):
        frame = pd.DataFrame({name: COLUMNS[name] for name in names})[rows]
        read = pl.DataFrame(pyfunc_model._as_polars(frame))
        assert read.schema == pl.from_pandas(frame).schema
        assert read.equals(pl.from_pandas(frame))


def test_one_row_of_text_and_numbers_is_converted_without_arrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The conversion took longer than the rest of the scoring."""
    monkeypatch.setattr(pl, "from_pandas", None)
    for frame in (pd.DataFrame([{"a": "x", "b": "y"}]), pd.DataFrame([{"a": 1, "b": 0.5, "c": True}])):
        assert pyfunc_model._as_polars(frame).rows() == [tuple(frame.iloc[0])]


@pytest.mark.parametrize("served", [False, True])
def test_a_server_does_not_collect_what_was_there_before_it_answered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, served: bool
) -> None:
    gc.unfreeze()
    if served:
        monkeypatch.setenv("__pyfunc_model_path__", "/a/model")
    try:
        PrunedModel().load_context(SimpleNamespace(artifacts={"pruned": str(folder)}))
        assert (gc.get_freeze_count() > 10_000) is served
    finally:
        gc.unfreeze()


PACKED = """
from pathlib import Path
from feature_audit.models import build_model

Path({marker!r}).touch()


def build(schema):
    return build_model("mlp", schema, embedding_dim=4, params={{}})
"""


@pytest.fixture
def version(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A downloaded version of a team's own model, in MLflow's layout, loaded in a folder with other code."""
    made = tmp_path / "version" / "artifacts" / "pruned"
    shutil.copytree(folder, made, ignore=shutil.ignore_patterns("store", "*.parquet"))
    spec = json.loads((made / "model.json").read_text())
    schema = ModelSchema(tuple(Field(**field) for field in spec["fields"]), spec["task"])
    model = UserModel(build_model("mlp", schema, embedding_dim=4, params={}), schema)
    torch.save(model.state_dict(), made / "weights.pt")
    for place, marker in ((tmp_path / "version" / "code", "packed"), (tmp_path / "here", "strange")):
        (place / "spaced").mkdir(parents=True)
        for name in ("team_ranker.py", "spaced/ranker.py", *(["spaced/other.py", "json5x.py"] * (marker == "strange"))):
            (place / name).write_text(PACKED.format(marker=str(tmp_path / marker)))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    yield made
    for name in ("team_ranker", "spaced", "spaced.ranker", "spaced.other", "json5x"):
        sys.modules.pop(name, None)


def load_version(version: Path, model: str) -> PrunedModel:
    spec = json.loads((version / "model.json").read_text())
    (version / "model.json").write_text(json.dumps(spec | {"model": model}))
    made = PrunedModel()
    made.load_context(SimpleNamespace(artifacts={"pruned": str(version)}))
    return made


@pytest.mark.parametrize("model", ["team_ranker:build", "spaced.ranker:build"])
def test_a_teams_own_model_comes_from_the_versions_code(version: Path, tmp_path: Path, model: str) -> None:
    """Also if the current folder contains a module of the same name."""
    scores = load_version(version, model).predict(None, [row(1), row(2)])
    assert np.isfinite(scores).all()
    assert (tmp_path / "packed").exists()
    assert not (tmp_path / "strange").exists()


@pytest.mark.parametrize(
    "model", ["json5x:build", "spaced.other:build", "runpy:run_path", "os:system", "..:build", "/tmp/x:build"]
)
def test_a_module_that_the_version_does_not_hold_is_not_imported(version: Path, tmp_path: Path, model: str) -> None:
    with pytest.raises(AuditError, match=f"model={model}: the model does not contain this code"):
        load_version(version, model)
    assert not (tmp_path / "strange").exists()


def test_a_package_of_the_current_folder_does_not_stand_in_for_the_versions_own(version: Path, tmp_path: Path) -> None:
    (tmp_path / "here" / "spaced" / "__init__.py").write_text(PACKED.format(marker=str(tmp_path / "strange")))
    with pytest.raises(AuditError, match=r"model=spaced\.ranker:build: .*here/spaced/__init__.py would be imported"):
        load_version(version, "spaced.ranker:build")
    assert not (tmp_path / "strange").exists()


def test_a_server_does_not_begin_to_import_from_the_current_folder(
    version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])  # as a console script starts
    load_version(version, "team_ranker:build")
    assert "" not in sys.path
