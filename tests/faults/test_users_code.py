"""A user's model or ``prepare`` that fails or exits: one line, which names the line of the user's code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from click_log import make_log
from command_line import feature_audit, newest_run, tracking_in
from processes import wait_until

ROOT = Path(__file__).parents[2]
WORDS = ("run", "--target", "clicked", "--profile", "quick", "--threads", "1", "--k", "4")
MODEL = """
import sys
import torch
from feature_audit.models import build_model

class Net(torch.nn.Module):
    def __init__(self, schema):
        super().__init__()
        self.inner = build_model("mlp", schema, embedding_dim=2, params={"hidden": [4]})
    def embed(self, batch):
        return self.inner.embed(batch)
    def predict(self, embedded):
        return self.inner.predict(embedded)
"""
BUILD = "\ndef build(schema):\n    return Net(schema)\n"
#: Name, source of the module, text in the error line.
BROKEN_MODELS = {
    "leaves_0": (f"{MODEL}\ndef build(schema):\n    sys.exit(0)", "SystemExit: 0 (leaves_0.py:16, in build)"),
    "leaves": (f"{MODEL}\ndef build(schema):\n    sys.exit()", "SystemExit (leaves.py:16, in build)"),
    "leaves_text": (f"{MODEL}\ndef build(schema):\n    sys.exit('no licence')", "SystemExit: no licence ("),
    "quits": (f"{MODEL}\ndef build(schema):\n    raise SystemExit(1)", "SystemExit: 1 (quits.py:16, in build)"),
    "on_import": (
        "import sys\nsys.exit(0)\n",
        "importing on_import fails: SystemExit: 0 (on_import.py:2, in <module>)",
    ),
    "import_fails": ("\n1 / 0\n", "ZeroDivisionError: division by zero (import_fails.py:2, in <module>)"),
    "needs": ("import not_there_at_all\n", "cannot import needs: No module named 'not_there_at_all' (needs.py:1"),
    "forward_leaves": (
        MODEL.replace("return self.inner.predict(embedded)", "sys.exit(0)") + BUILD,
        "SystemExit: 0 (forward_leaves.py:13, in predict): code that an audit calls must not end the process",
    ),
    "other_arguments": (
        MODEL.replace("def predict(self, embedded)", "def predict(self, embedded, batch)") + BUILD,
        "model=other_arguments:build: TypeError: Net.predict() missing 1 required positional argument: 'batch'; build(",
    ),
    "few_codes": (
        MODEL.replace(
            "return self.inner.embed(batch)", "return torch.nn.Embedding(1, 2)(batch.codes + 1).repeat(1, 5, 1)"
        ) + BUILD,
        "model=few_codes:build: IndexError: index out of range in self (few_codes.py:11, in embed); build(schema), ",
    ),
    "forward_fails": (
        MODEL.replace("return self.inner.embed(batch)", "return {}['a field']") + BUILD,
        "KeyError: 'a field' (forward_fails.py:11, in embed)",
    ),
    "inside_torch": (
        MODEL.replace("return self.inner.predict(embedded)", "return torch.stack(\n            [])") + BUILD,
        "(inside_torch.py:13, in predict)",
    ),
    "end_of_file": (f"{MODEL}\ndef build(schema):\n    raise EOFError", "EOFError (end_of_file.py:16, in build)"),
    "while_training": (
        MODEL.replace("self.inner.embed(", "sys.exit(0) if self.training else self.inner.embed(") + BUILD,
        "SystemExit: 0 (while_training.py:11, in embed)",
    ),
}  # fmt: skip
BROKEN_PREPARES = {
    "prepare_leaves": ("import sys\ndef build(data):\n    sys.exit(0)\n", "SystemExit: 0 (prepare_leaves.py:3,"),
    "prepare_fails": ("def build(data):\n    return data.nothing\n", "AttributeError: 'str' object"),
    "prepare_helper": (
        "def helper():\n    raise ValueError('a\\nb')\ndef build(data):\n    helper()\n",
        "failed with ValueError: a b (prepare_helper.py:2, in helper)",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a log and broken code."""
    with tracking_in(tmp_path_factory.mktemp("users_code")) as folder:
        make_log(1_200).select("price_gap", "taste", "device", "noise_00", "noise_01", "clicked").write_parquet(
            folder / "log.parquet"
        )
        for name, (source, _) in (BROKEN_MODELS | BROKEN_PREPARES).items():
            (folder / f"{name}.py").write_text(source, encoding="utf-8")
        yield folder
    for name in BROKEN_MODELS | BROKEN_PREPARES:
        sys.modules.pop(name, None)


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("feature-audit: error:")]


@pytest.mark.parametrize("name", BROKEN_MODELS)
def test_a_broken_model(home: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert feature_audit(*WORDS, "--data", "log.parquet", "--model", f"{name}:build") in (1, 2)
    [line] = errors(capsys)
    assert BROKEN_MODELS[name][1] in line
    run = newest_run()
    assert run.info.status == "FAILED"
    assert run.data.tags["audit.verdict"] == "error"


def test_what_check_model_says_of_one_that_leaves(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert feature_audit("check-model", *WORDS[1:], "--data", "log.parquet", "--model", "forward_leaves:build") == 1
    assert BROKEN_MODELS["forward_leaves"][1] in errors(capsys)[0]


@pytest.mark.parametrize("name", BROKEN_PREPARES)
def test_a_broken_prepare(home: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert feature_audit(*WORDS, "--data", "log.parquet", "--prepare", f"{name}:build") == 1
    [line] = errors(capsys)
    assert f"prepare={name}:build: failed with" in line
    assert BROKEN_PREPARES[name][1] in line
    assert newest_run().data.tags["audit.verdict"] == "error"


def test_terminating_a_process_is_not_blamed_on_the_users_code(home: Path) -> None:
    (home / "waits.py").write_text(
        textwrap.dedent("""
            import time, pathlib
            def build(data):
                pathlib.Path("waiting").touch()
                time.sleep(600)
        """),
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT / 'selectors'}"}
    command = [sys.executable, "-m", "feature_audit", *WORDS, "--data", "log.parquet", "--prepare", "waits:build"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_until(Path("waiting").exists, process=process)
    process.send_signal(signal.SIGTERM)
    written = process.communicate(timeout=120)[1]
    assert process.returncode == 143
    assert "interrupted; run the same command again" in written
    assert newest_run().info.status == "KILLED"
