"""The repository's shape: what a checkout promises before anything runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml
from feature_audit import cli
from feature_audit.config import AuditConfig

ROOT = Path(__file__).parents[2]


def test_the_folder_selectors_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "selectors" / "__init__.py").exists()
    code = "import selectors, sys; print(selectors.DefaultSelector.__module__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "selectors"


def test_every_entry_point_passes_every_option_on() -> None:
    project = yaml.safe_load((ROOT / "MLproject").read_text())
    points = project["entry_points"]
    assert set(points) == {"main", *cli.STAGES, "promote", "rollback", "history"}
    for name in ("main", *cli.STAGES):
        expected = {"config", *cli.OPTIONS} | ({"audit"} if name != "main" else set())
        assert set(points[name]["parameters"]) == expected
    for point in points.values():
        for parameter, spec in point["parameters"].items():
            assert f"--{parameter} {{{parameter}}}" in point["command"]
            assert spec == {"type": "string", "default": ""}, "an empty default leaves the word to the config file"


def test_every_option_is_a_key_of_the_configuration() -> None:
    assert set(cli.OPTIONS) <= set(AuditConfig.model_fields)


def test_the_environment_file_pins_what_pyproject_asks_for_and_never_the_project_itself() -> None:
    wanted = yaml.safe_load((ROOT / "python_env.yaml").read_text())["dependencies"]
    assert not [line for line in wanted if line.startswith((".", "-e"))]
    assert {line.split("==")[0].split(">=")[0] for line in wanted} >= {
        "mlflow",
        "torch",
        "polars",
        "optuna",
        "great-expectations",
    }


def test_the_command_line_answers_without_heavy_imports() -> None:
    code = (
        "import sys, feature_audit.cli; print([m for m in ('torch', 'mlflow', 'polars', 'optuna') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "pipeline"), str(ROOT / "selectors")])}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == "[]"


def test_no_path_of_a_machine_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    words = ("/wo" + "rk/", "/ro" + "ot/")  # split, so that this file does not find itself
    for name in listed:
        if name.endswith((".py", ".md", ".yaml", ".toml", ".j2", ".js", ".css")):
            text = (ROOT / name).read_text(encoding="utf-8")
            assert not [word for word in words if word in text], name
