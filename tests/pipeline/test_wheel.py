"""The built wheel as `pip install` provides it, without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click_log import make_log

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as `pip install --target` leaves it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: building in place would leave folders in the checkout
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(_ROOT), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)], check=True
    )
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


def _run(installed: Path, folder: Path, *arguments: str) -> str:
    """Call the installed command from an empty folder; its standard output."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment |= {"PYTHONPATH": str(installed), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    program = [sys.executable, str(installed / "bin" / "feature-audit"), *arguments]
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_brings_schemas_and_page_templates(installed: Path, tmp_path: Path) -> None:
    package = installed / "feature_audit"
    for name in ("config", "report"):
        assert json.loads((package / f"schemas/{name}.schema.json").read_text(encoding="utf-8"))["properties"]
    assert (package / "report/templates/report.html.j2").is_file()
    where = [sys.executable, "-c", "import feature_audit; print(feature_audit.__file__)"]
    found = subprocess.check_output(where, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}, text=True)
    assert Path(found.strip()).is_relative_to(installed)


@pytest.mark.slow
def test_an_audit_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    make_log(4_000).write_csv(tmp_path / "log.csv")
    keys = {"data": "log.csv", "target": "clicked", "row_id": "impression", "time": "ts", "group": "user_id", "k": "8"}
    given = [part for key, value in keys.items() for part in (f"--{key}", value)]
    last = _run(installed, tmp_path, "run", *given, "--profile", "quick", "--threads", "1", "--margin", "0.05")
    assert "pass" in last
    assert list(tmp_path.glob("mlruns/**/report/index.html"))
