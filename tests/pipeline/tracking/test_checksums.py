"""A registered version whose files have changed since is not loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import concrete_selectors
import feature_audit
import mlflow
import numpy as np
import polars as pl
import pytest
import torch
from data_helpers import prepared_of
from feature_audit.errors import AuditError
from feature_audit.models import build_model
from feature_audit.tracking import registry
from mlflow import MlflowClient
from stores import store_in

PACKAGES = [Path(str(package.__file__)).parent for package in (feature_audit, concrete_selectors)]
ROW = pl.DataFrame({"age": [30.0]}).to_pandas()


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of a version, as they are downloaded."""
    folder = tmp_path_factory.mktemp("checksums")
    rng = np.random.default_rng(0)
    made, _ = prepared_of(pl.DataFrame({"age": rng.normal(size=400), "y": rng.integers(0, 2, 400)}), folder)
    artifacts = folder / "pruned"
    artifacts.mkdir()
    torch.save(build_model("mlp", made.schema, embedding_dim=2, params={}).state_dict(), artifacts / "weights.pt")
    shutil.copy(folder / "store" / "encoders.json", artifacts)
    spec = {
        "model": "mlp", "embedding_dim": 2, "params": {}, "attach": None, "task": made.schema.task,
        "n_classes": made.schema.n_classes, "fields": [asdict(field) for field in made.schema.fields],
    }  # fmt: skip
    (artifacts / "model.json").write_text(json.dumps(spec))
    with store_in(folder), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        experiment = mlflow.set_experiment("checksums").experiment_id
        address = registry.register(
            run_id=MlflowClient().create_run(experiment).info.run_id, model_name="summed", artifacts=artifacts,
            code=PACKAGES, inputs=[registry.RawInput("age", "Float64")], example=pl.DataFrame({"age": [1.0]}),
            tags={"audit.key": "x"}, describe=lambda address: address,
        )  # fmt: skip
        yield Path(mlflow.artifacts.download_artifacts(address, dst_path=str(folder / "download")))


@pytest.fixture
def copy(version: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(version, tmp_path / "version"))


def append(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\n")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_whole_files_are_loaded_and_sha256sum_agrees(copy: Path) -> None:
    assert np.isfinite(mlflow.pyfunc.load_model(str(copy)).predict(ROW)).all()
    command = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    subprocess.run(command, cwd=copy / "artifacts" / "pruned", check=True)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("artifacts/pruned/weights.pt", flip, "weights.pt differs from what was registered"),
        ("artifacts/pruned/weights.pt", Path.unlink, "weights.pt is missing"),
        ("artifacts/pruned/encoders.json", append, "encoders.json differs"),
        ("artifacts/pruned/model.json", append, "model.json differs"),
        ("code/feature_audit/models/zoo/heads.py", append, "heads.py differs"),
        ("code/concrete_selectors/__init__.py", Path.unlink, "__init__.py is missing"),
    ],
)
def test_changed_files_are_refused(copy: Path, name: str, change: Callable[[Path], None], says: str) -> None:
    change(copy / name)
    with pytest.raises(AuditError, match="copy the files of this version again") as caught:
        mlflow.pyfunc.load_model(str(copy))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
