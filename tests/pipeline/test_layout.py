"""The layout of the repository: properties of a checkout that do not require a run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
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


def test_every_key_is_a_parameter_of_mlflow_run_and_an_option_of_the_command() -> None:
    """MLflow builds the command; its parser accepts every key of the configuration."""
    from mlflow.projects._project_spec import load_project

    project = load_project(str(ROOT))
    verbs = {"main": "run", **{name: name for name in cli.main.commands if name != "run"}}
    assert set(yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]) == set(verbs)
    keys = {"config", *AuditConfig.model_fields}
    for point, verb in verbs.items():
        options = {str(option.name) for option in cli.main.commands[verb].params}
        if verb in ("run", "check-model", *cli.STAGES):
            assert options == keys | ({"audit", "trust"} if verb in cli.STAGES else set())
        given = {name: f"a {name}" for name in options}
        words = shlex.split(project.get_entry_point(point).compute_command(given, None))
        assert words[1:5] == ["python", "-m", "feature_audit", verb]
        assert dict(zip(words[5::2], words[6::2], strict=True)) == {f"--{name}": given[name] for name in options}


def test_help_says_what_every_key_means() -> None:
    assert [key for key, field in AuditConfig.model_fields.items() if not field.description] == []


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


def test_an_invalid_setting_is_reported_before_heavy_imports() -> None:
    code = (
        "import sys; from feature_audit.cli import entry\n"
        "try: entry()\n"
        "except SystemExit as stop: print(stop.code, [m for m in ('torch', 'mlflow', 'polars') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "pipeline"), str(ROOT / "selectors")])}
    environment.pop("MLFLOW_RUN_ID", None)
    for words in (["run", "--k", "0"], ["check-model", "--kinds", "numeric"]):
        found = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, env=environment
        )
        assert found.stdout.strip() == "2 []"


def test_no_path_of_a_machine_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    words = ("/wo" + "rk/", "/ro" + "ot/")  # split, so that this file does not find itself
    for name in listed:
        if name.endswith((".py", ".md", ".yaml", ".toml", ".j2", ".js", ".css")):
            text = (ROOT / name).read_text(encoding="utf-8")
            assert not [word for word in words if word in text], name


def test_the_selectors_are_a_separate_distribution_with_their_dependencies(tmp_path: Path) -> None:
    """``pip install ./selectors``: the same version and bounds as the project, and only imported dependencies."""
    bytecode = shutil.ignore_patterns("__pycache__")  # which other tests write meanwhile
    copy = shutil.copytree(ROOT / "selectors", tmp_path / "selectors", ignore=bytecode)
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), "."]
    subprocess.run(words, cwd=copy, check=True, timeout=120)
    wheel = next(tmp_path.glob("concrete_selectors-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
    sources = {str(path.relative_to(ROOT / "selectors")) for path in (ROOT / "selectors").rglob("*.py")}
    assert sources | {"concrete_selectors/py.typed"} <= files
    alone, whole = (
        tomllib.loads((ROOT / part / "pyproject.toml").read_text())["project"] for part in ("selectors", ".")
    )
    assert alone["version"] == whole["version"]
    assert set(alone["dependencies"]) <= set(whole["dependencies"])
    imported = set()
    for source in (ROOT / "selectors").rglob("*.py"):
        imported |= set(re.findall(r"^(?:from|import) (\w+)", source.read_text(), re.MULTILINE))
    outside = imported - set(sys.stdlib_module_names) - {"concrete_selectors"}
    assert outside == {"torch", "sklearn", "scipy", "numpy"}
