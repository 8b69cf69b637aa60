"""The layers in ARCHITECTURE.md are enforced: each forbidden import is refused by its contract."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("importlinter", reason="import-linter comes with the extra dev")

#: module, forbidden import, the contract that refuses it
VIOLATIONS = [
    ("feature_audit.stages.select", "mlflow", "mlflow in tracking only"),
    ("feature_audit.noninferiority.metrics", "mlflow.models", "mlflow in tracking only"),
    ("feature_audit.data.columns.kinds", "great_expectations", "great_expectations in one module of data only"),
    ("feature_audit.models.loss", "optuna", "optuna in the selection only"),
    ("feature_audit.engine.local", "ray", "ray in one module of the engine only"),
    ("feature_audit.engine.jobs", "feature_audit.fitting.trained", "layers"),
    ("feature_audit.report.charts", "polars", "data frames in data, datasets, labels and tracking only"),
    ("feature_audit.orchestration.publish", "polars", "data frames in data, datasets, labels and tracking only"),
    ("feature_audit.data.prepare", "feature_audit.tracking", "layers"),
    ("feature_audit.noninferiority.verdict", "feature_audit.tracking.runs", "layers"),
    ("feature_audit.tracking.runs", "feature_audit.stages.load", "layers"),
    ("feature_audit.models.training", "feature_audit.data.prepare", "layers"),
    ("feature_audit.schema", "feature_audit.noninferiority", "layers"),
    ("feature_audit.fitting.trained", "feature_audit.stages.baseline", "layers"),
    ("concrete_selectors", "polars", "the selectors know torch, numpy, scipy and scikit-learn only"),
    ("feature_audit.data.columns.dates", "feature_audit.data.checks.examine", "rooms of data"),
    (
        "feature_audit.tracking.registry",
        "feature_audit.fitting.trained",
        "tracking keeps what was found and takes no part in finding it",
    ),
]


def lint(folder: Path) -> tuple[int, str]:
    """Exit code and text of import-linter on a copy of the source."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "pipeline"), str(folder / "selectors")])}
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return found.returncode, re.sub(r"\s+", " ", found.stdout + found.stderr)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("pipeline", "selectors"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture(scope="module")
def refused(copied: Path) -> str:
    """The output of the linter with all violations in the source at once."""
    for module, imported, _ in VIOLATIONS:
        with _file_of(copied, module).open("a", encoding="utf-8") as file:
            file.write(f"\nimport {imported}\n")
    code, output = lint(copied)
    assert code == 1, output
    return output


def _file_of(folder: Path, module: str) -> Path:
    place = folder / ("pipeline" if module.startswith("feature_audit") else "selectors") / module.replace(".", "/")
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


@pytest.mark.parametrize(("module", "imported", "contract"), VIOLATIONS)
def test_a_forbidden_import_is_refused_by_its_contract(refused: str, module: str, imported: str, contract: str) -> None:
    broken = refused.partition("Broken contracts")[2]
    of_contract = broken.partition(f" {contract} ---")[2].partition(" ---")[0]
    shown = imported if imported.startswith("feature_audit") else imported.partition(".")[0]
    assert f"{module} -> {shown} " in of_contract, broken


def test_the_source_as_it_stands_keeps_every_contract() -> None:
    code, output = lint(ROOT)
    assert code == 0, output
