"""A team's own model: an edit trains again, and the registered model loads without the project installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import polars as pl
import pytest
from click_log import make_log
from command_line import artifact, feature_audit, newest_audit, tracking_in
from mlflow import MlflowClient
from mlflow.entities import Run

MODEL = """
from feature_audit.models import build_model
from team_parts import sizes


def build(schema):
    return build_model("mlp", schema, embedding_dim=4, params={"hidden": sizes.HIDDEN})
"""
#: A package that the model imports, with further files that must not be packed.
PARTS = {"__init__.py": "", "sizes.py": "HIDDEN = [16]\n", ".env": "TOKEN=secret", ".git/config": "url", "key.pem": "k"}
KEYS = [
    "--data",
    "log.parquet",
    "--target",
    "clicked",
    "--row_id",
    "impression",
    "--time",
    "ts",
    "--k",
    "12",
    "--k_min",
    "12",
]
REST = [
    "--margin",
    "0.05",
    "--trials",
    "1",
    "--seeds",
    "2",
    "--profile",
    "quick",
    "--threads",
    "1",
    "--model",
    "team_model:build",
    "--training",
    "{max_epochs: 1}",
]
#: Hides an editable installation of the project; prints scores and the origin of the code.
LOAD = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
import mlflow, polars
scores = mlflow.pyfunc.load_model(sys.argv[1]).predict(polars.read_parquet(sys.argv[2]).to_pandas())
import concrete_selectors, feature_audit, team_model
print(*scores)
print(*(module.__file__ for module in (concrete_selectors, feature_audit, team_model)))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a log and a team's model, audited."""
    with tracking_in(tmp_path_factory.mktemp("own_model")) as folder:
        make_log(2_500).write_parquet(folder / "log.parquet")
        (folder / "team_model.py").write_text(MODEL, encoding="utf-8")
        for name, text in PARTS.items():
            (folder / "team_parts" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "team_parts" / name).write_text(text, encoding="utf-8")
        assert feature_audit("run", *KEYS, *REST) == 0
        yield folder
    _forget()


def _forget() -> None:
    """Make the next run import the team's model again."""
    for name in ("team_model", "team_parts", "team_parts.sizes"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_a_registered_model_takes_its_code_along(home: Path, tmp_path: Path) -> None:
    audit = newest_audit()
    kept = artifact(audit, "recommendation/kept_features.txt").read_text().split()
    predictions = pl.read_parquet(artifact(audit, "parity/predictions.parquet")).head(5)
    rows = pl.read_parquet(home / "log.parquet").join(predictions, left_on="impression", right_on="row_id")
    rows.select(kept).write_parquet(tmp_path / "rows.parquet")
    model = audit.data.tags["audit.recommendation"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, model, "rows.parquet"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    scores, places = done.stdout.splitlines()[-2:]
    seeds = [rows[f"pruned_{number}"].to_list() for number in range(2)]
    assert any([float(score) for score in scores.split()] == pytest.approx(seed, abs=1e-5) for seed in seeds)
    assert all(Path(place).parents[1].name == "code" or Path(place).parent.name == "code" for place in places.split())


def test_a_registered_model_takes_what_it_imports_and_nothing_else_along(home: Path, tmp_path: Path) -> None:
    model = newest_audit().data.tags["audit.recommendation"]
    code = Path(mlflow.artifacts.download_artifacts(model, dst_path=str(tmp_path))) / "code"
    assert {"concrete_selectors", "feature_audit"} <= {folder.name for folder in code.iterdir()}
    own = [
        file for place in ("team_model.py", "team_parts") for file in (code, *code.rglob("*")) if place in file.parts
    ]
    assert {file.name for file in own if file.is_file()} == {"team_model.py", "__init__.py", "sizes.py"}


def test_an_edited_model_is_trained_again(home: Path) -> None:
    def baseline_was_cached() -> bool:
        _forget()
        assert feature_audit("baseline", *KEYS, *REST) == 0
        runs = MlflowClient().search_runs(
            [newest_audit().info.experiment_id], filter_string="tags.`audit.stage` = 'baseline'", max_results=1
        )
        return runs[0].data.tags["audit.cached"] == "True"

    assert baseline_was_cached()
    (home / "team_parts" / "sizes.py").write_text("HIDDEN = [24]\n", encoding="utf-8")
    assert not baseline_was_cached()
    (home / "team_parts" / "sizes.py").write_text(PARTS["sizes.py"], encoding="utf-8")
    assert baseline_was_cached()


#: The example's two towers, split into embed and predict by hand.
BY_HAND = """
import torch
from examples.two_tower import model
from feature_audit.models import by_name


class ByHand(model.TwoTower):
    def embed(self, batch):
        return self.features(by_name(batch, self.schema))

    def predict(self, embedded):
        return self.score(embedded)


def build(schema, *, dim=16, width=32, item_prefix="item_"):
    return ByHand(schema, dim, width, item_prefix)
"""
EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log with item and user features, for audits that may find its rows prepared."""
    folder = tmp_path_factory.mktemp("shared")
    log = make_log(4_000).drop("country", "taste_again", "dwell_after_click")
    items = ("price_gap", "taste", "price_gap_copy", *(f"noise_{number:02d}" for number in range(6)))
    log.rename({name: f"item_{name}" for name in items}).write_parquet(folder / "clicks.parquet")
    return folder


@pytest.fixture
def clicks(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Options of a quick audit of a copy of the log, and a model split by hand."""
    shutil.copy(shared / "clicks.parquet", tmp_path)
    (tmp_path / "by_hand.py").write_text(BY_HAND, encoding="utf-8")
    monkeypatch.syspath_prepend(str(EXAMPLES.parent))
    with tracking_in(tmp_path):
        yield [
            "--data", "clicks.parquet", "--target", "clicked", "--row_id", "impression", "--time", "ts",
            "--group", "user_id", "--k", "5", "--profile", "quick", "--threads", "1", "--seeds", "2", "--trials", "1",
            "--margin", "0.05", "--always_drop", "noise_cat_0",
        ]  # fmt: skip
    for name in [name for name in sys.modules if name == "by_hand" or name.startswith("examples")]:
        del sys.modules[name]


@pytest.mark.slow
def test_an_attached_model_is_audited_like_the_same_network_with_embed_and_predict(
    clicks: list[str], tmp_path: Path
) -> None:
    def audited(*words: str) -> tuple[Run, list[str], pl.DataFrame]:
        assert feature_audit("run", *clicks, *words) == 0
        audit = newest_audit()
        kept = artifact(audit, "recommendation/kept_features.txt").read_text().split()
        return audit, kept, pl.read_parquet(artifact(audit, "parity/predictions.parquet"))

    data = ("--data", str(tmp_path / "clicks.parquet"))  # in a separate store, else it would be a second look
    (tmp_path / "hand").mkdir()
    (tmp_path / "by_hand.py").rename(tmp_path / "hand" / "by_hand.py")
    with tracking_in(tmp_path / "hand"):
        by_hand, kept_by_hand, scores_by_hand = audited("--model", "by_hand:build", *data)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    attached, kept, scores = audited("--config", str(EXAMPLES / "two_tower" / "audit.yaml"))
    assert kept == kept_by_hand
    assert len(kept) <= 5
    assert {"item_price_gap", "hour_score"} & set(kept)
    names = ["baseline", "pruned_0", "pruned_1"]
    assert np.abs(scores.select(names).to_numpy() - scores_by_hand.select(names).to_numpy()).max() < 1e-4
    for name in ("baseline/test/auc", "pruned/test/auc", "cost/full_trainings"):
        assert attached.data.metrics[name] == pytest.approx(by_hand.data.metrics[name], abs=1e-3)
    assert attached.data.metrics["baseline/test/auc"] > 0.75
    assert attached.data.tags["audit.verdict"] == by_hand.data.tags["audit.verdict"] == "pass"
    served = mlflow.pyfunc.load_model(attached.data.tags["audit.recommendation"])
    rows = pl.read_parquet("clicks.parquet").join(scores, left_on="impression", right_on="row_id").head(50)
    found = served.predict(rows.select(kept).to_pandas())
    assert any(found == pytest.approx(rows[name].to_numpy(), abs=1e-5) for name in names[1:])


def test_check_model_says_what_will_be_gated(clicks: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = clicks[: clicks.index("--k")]
    tables = []
    for options in (("--config", str(EXAMPLES / "two_tower" / "audit.yaml")), ("--model", "by_hand:build")):
        assert feature_audit("check-model", *words, *options) == 0
        lines = capsys.readouterr().out.splitlines()
        assert re.fullmatch(r"ok   shapes: embed 256 rows x \d+ features of width 3 to 7, predict \(256,\)", lines[0])
        tables.append(lines[next(place for place, line in enumerate(lines) if line.startswith("gated: ")) :])
    assert tables[0] == tables[1]
    features, numbers = re.findall(r"\d+", tables[0][0])
    rows = [re.fullmatch(r" +(\d+)  (\w+) +(.+)", line).groups() for line in tables[0][2:]]
    counted = {row: 1 + row[2].count(",") + int(re.search(r"(?:and (\d+) more)?$", row[2])[1] or 0) for row in rows}
    assert sum(counted.values()) == int(features)
    assert sum(int(row[0]) * number for row, number in counted.items()) == int(numbers)
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), reverse=True)
    assert {"numeric", "categorical"} <= {kind for _, kind, _ in rows}


@pytest.mark.slow
def test_a_model_of_fuxictr_is_audited_as_it_is(clicks: list[str]) -> None:
    pytest.importorskip("fuxictr", reason="optional: pip install fuxictr")
    assert feature_audit("run", *clicks, "--config", str(EXAMPLES / "fuxictr" / "audit.yaml")) == 0
    assert newest_audit().data.tags["audit.verdict"] in ("pass", "fail", "inconclusive")
    assert newest_audit().data.metrics["baseline/test/auc"] > 0.7


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"    def embed(self, batch):": "    def embed(self, batch):\n        self.raw = batch.numeric[:, 0]",
             "self.score(embedded)": "self.score(embedded) + self.raw"},
            "embeddings alone: predict depends only on the embeddings of a row",
        ),
        (
            {"self.score(embedded)": "torch.sigmoid(self.score(embedded))"},
            r"logits: the output stays within \[0, 1\] for any weights, like probabilities; return logits",
        ),
        (
            {"return self.features(by_name(batch, self.schema))":
             "return {name: one.detach() for name, one in self.features(by_name(batch, self.schema)).items()}"},
            r"training: features.*\.weight affects the output but gets no gradient, so it is never trained",
        ),
        (
            {"    return ByHand": "    assert len(schema.names) > 12, 'too narrow'\n    return ByHand"},
            r"fewer features: with \d+ of \d+ features, as a pruned model: AssertionError: too narrow",
        ),
        (
            {"return self.features(by_name(batch, self.schema))":
             "return dict(list(self.features(by_name(batch, self.schema)).items())[1:])"},
            r"shapes: ByHand.embed gives no embedding for \w+ \(1 of \d+ features missing\)",
        ),
        (
            {"self.score(embedded)": "torch.stack([self.score(embedded)] * 2, dim=1)"},
            r"shapes: predict returns \(\d+, 2\), expected \(\d+,\)",
        ),
        (
            {"return self.features(by_name(batch, self.schema))":
             "return {name: one.double() for name, one in self.features(by_name(batch, self.schema)).items()}",
             "self.score(embedded)": "self.score({name: one.float() for name, one in embedded.items()})"},
            "shapes: embed returns float64; build the module in float32",
        ),
        (
            {"self.score(embedded)": "(self.score(embedded), 0)"},
            "shapes: predict returns tuple, expected one tensor .*: of several outputs, return the one of the target",
        ),
        (  # the scores of an audit and those of a service would differ
            {"self.score(embedded)": "torch.nn.functional.batch_norm(self.score(embedded)[:, None], None, None, "
             "training=True)[:, 0]"},
            "rows apart: a row's output does not depend on the other rows of its batch .* no statistics of the batch",
        ),
        (
            {"return self.score(embedded)": "self.rows = getattr(self, 'rows', len(self.score(embedded)))\n"
             "        return self.score(embedded) - self.rows / 100"},
            "saved weights: .* register what the output depends on",
        ),
        (
            {"return self.score(embedded)": "self.calls = getattr(self, 'calls', 0) + 1\n"
             "        return self.score(embedded) + self.calls"},
            "repeatable: .* keep no state between calls",
        ),
        *(  # neighbours, so that one of them is in either half
            ({"self.score(embedded)": f"self.score(embedded) + embedded['{name}'].sum(1)"},
             f"fewer features: .*: KeyError: '{name}' .*; read names and sizes from the schema")
            for name in ("item_noise_00", "item_noise_01")
        ),
        (  # a tower of its own for the columns of one table, which may lose all of them
            {"self.score(embedded)": "self.score(embedded) + torch.stack([one.sum(1) for name, one in embedded.items() "
             "if name.startswith('item_')]).sum(0)"},
            r"fewer features: with 1 of \d+ features, as the smallest pruned model \(\w+\): RuntimeError: .*never_drop",
        ),
    ],
)  # fmt: skip
def test_a_model_that_breaks_the_contract_is_refused_before_it_is_trained(
    clicks: list[str],
    shared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    says: str,
) -> None:
    text = BY_HAND
    for old, new in changes.items():
        text = text.replace(old, new)
    (tmp_path / "by_hand.py").write_text(text, encoding="utf-8")
    place = ("--data", str(shared / "clicks.parquet"), "--work_dir", str(shared / "work"))
    assert feature_audit("run", *clicks, *place, "--model", "by_hand:build") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.search(f"model=by_hand:build: does not fit the model contract; {says}", line)
    assert "check-model" in line
    assert list(shared.glob("work/load/*/DONE.json"))
    assert not list(shared.glob("work/baseline/*/full.pt"))
