"""The mutation run: every mutant applies to the current source, and the command reports which survive."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "mutants.py"
TABLE = """
- {name: wrong-sum, file: sums.py, old: a + b, new: a - b, tests: test_sums.py::test_sum}
- {name: wrong-limit, file: sums.py, old: n < 10, new: n <= 10, tests: test_sums.py::test_few}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a test that detects the mutant and one that does not."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "scripts" / "mutants.yaml").write_text(TABLE)
    (tmp_path / "sums.py").write_text("def add(a, b):\n    return a + b\n\n\ndef few(n):\n    return n < 10\n")
    (tmp_path / "test_sums.py").write_text(
        "from sums import add, few\ndef test_sum():\n    assert add(1, 2) == 3\ndef test_few():\n    assert few(1)\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def run(checkout: Path, *words: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # which take longer than the tests
    command = [sys.executable, "scripts/mutants.py", *words]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stdout + done.stderr


def test_every_mutant_can_be_made_of_todays_source() -> None:
    code, output = run(SCRIPT.parents[1], "--list")
    assert code == 0, output


def test_a_mutant_that_no_test_notices_survives_and_the_checkout_stays_as_it_is(checkout: Path) -> None:
    before = (checkout / "sums.py").read_text()
    code, output = run(checkout)
    assert code == 1
    assert [line.split()[0] for line in output.splitlines()] == ["killed", "SURVIVED", "1"]
    assert (checkout / "sums.py").read_text() == before


def test_one_mutant_alone_and_a_name_that_is_none(checkout: Path) -> None:
    code, output = run(checkout, "wrong-sum")
    assert (code, output.splitlines()[-1]) == (0, "1 of 1 killed")
    code, output = run(checkout, "wrong")
    assert code == 2
    assert "no such mutant: wrong" in output


def test_tests_that_fail_anyway_kill_nothing(checkout: Path) -> None:
    (checkout / "test_sums.py").write_text("def test_sum():\n    assert False\ndef test_few():\n    pass\n")
    code, output = run(checkout)
    assert code == 1
    assert output.startswith("the tests fail without any mutant")


@pytest.mark.parametrize("source", ["def add(a, b):\n    return sum((a, b))\n", "x = lambda a, b: (a + b, a + b)\n"])
def test_a_line_that_is_gone_or_there_twice_is_an_error(checkout: Path, source: str) -> None:
    (checkout / "sums.py").write_text(source)
    code, output = run(checkout, "wrong-sum")
    assert code == 1
    assert "cannot be made  wrong-sum: sums.py: the old text occurs" in output
    assert run(checkout, "--list", "wrong-sum")[0] == 1
