"""The workflow of docs/how-to/gate-in-ci.md: its audit step fails without a pass, and outputs the version."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "gate-in-ci.md"
PASS = (
    "pass: The pruned model's AUC is 0.0012 better ...\n"
    "recommended: models:/click-ranker-pruned/17; promote it with: feature-audit promote --model_name "
    "click-ranker-pruned --version 17\n"
)


@pytest.fixture
def workflow() -> dict[str, Any]:
    [text] = re.findall(r"```yaml\n(name: feature audit\n.*?)```\n", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]
    return jobs


@pytest.mark.parametrize(
    ("code", "output", "version", "note"),
    [
        (0, PASS, "version=17", "::notice::pass"),
        (3, "fail: ...\n", "", "::error::fail"),
        (4, "inconclusive: ...\nto decide it: ...\n", "", "::warning::inconclusive"),
        (1, "", "", "::error::the audit did not finish"),
        (2, "", "", "::error::the audit did not finish"),
        (143, "", "", "::error::the audit did not finish"),
    ],
)
def test_the_audit_step_ends_with_the_exit_code_of_the_gate(
    workflow: dict[str, Any], tmp_path: Path, code: int, output: str, version: str, note: str
) -> None:
    [step] = [step for step in workflow["audit"]["steps"] if step.get("id") == "audit"]
    (tmp_path / "printed").write_text(output)
    audit = tmp_path / "feature-audit"
    audit.write_text(f'#!/bin/sh\n[ "$*" = "run --config audit.yaml --gate" ] || exit 99\ncat printed\nexit {code}\n')
    audit.chmod(0o755)
    files = {name: str(tmp_path / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    words = ["bash", "-e", "-c", step["run"]]  # how a runner executes a step without `shell`
    env = {**os.environ, **files, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert note in done.stdout
    assert (tmp_path / "GITHUB_OUTPUT").read_text().strip() == version
    assert output in (tmp_path / "GITHUB_STEP_SUMMARY").read_text()


def test_the_version_that_was_approved_is_promoted(workflow: dict[str, Any]) -> None:
    assert workflow["audit"]["outputs"] == {"version": "${{ steps.audit.outputs.version }}"}
    assert workflow["promote"]["needs"] == "audit"
    assert "--version ${{ needs.audit.outputs.version }} " in workflow["promote"]["steps"][-1]["run"]
