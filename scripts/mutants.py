#!/usr/bin/env python
"""Do the tests notice a wrong line? Each mutant of scripts/mutants.yaml is one, in a module that decides something.

    python scripts/mutants.py [--list] [NAME...]

Each mutant is applied to a temporary copy of the checkout, never to the checkout itself, and its tests are run there;
they must fail. Exit code 1 if a mutant survives, if its old text is not found exactly once, or if its tests fail or are
not found without it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_suffix(".yaml")
#: pytest's exit codes, of which only the first two say something about a test.
PASSED, FAILED = 0, 1


@dataclass(frozen=True)
class Mutant:
    """One wrong line.

    Attributes:
        name: what is wrong, in a few words joined by hyphens.
        file: path below the checkout.
        old, new: text that occurs once in the file, and what takes its place.
        tests: words for pytest that select the tests that must fail, separated by spaces.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str

    def problem(self) -> str | None:
        """Why the mutant cannot be made, or None."""
        path = ROOT / self.file
        if not path.is_file():
            return f"{self.file}: no such file"
        count = path.read_text(encoding="utf-8").count(self.old)
        return None if count == 1 else f"{self.file}: the old text occurs {count} times, not once: {self.old}"

    def survives(self, copy: Path) -> bool:
        """Do its tests still pass with the wrong line in a copy of the checkout?"""
        path = copy / self.file
        right = path.read_text(encoding="utf-8")
        path.write_text(right.replace(self.old, self.new), encoding="utf-8")
        try:
            return run_tests(copy, self.tests.split()) != FAILED
        finally:
            path.write_text(right, encoding="utf-8")


def run_tests(copy: Path, words: Iterable[str]) -> int:
    """pytest's exit code; no bytecode is written, as it would outlive a mutant of the same length."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "slow or not slow", *words]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False).returncode


def copy_checkout(folder: Path) -> Path:
    """The checkout as it is now, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def main() -> int:
    """Run the mutants asked for, or all."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--list", action="store_true", help="check that every mutant can be made, and name them")
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to run (all)")
    asked = parser.parse_args()
    every = [Mutant(**row) for row in yaml.safe_load(TABLE.read_text(encoding="utf-8"))]
    unknown = set(asked.names) - {mutant.name for mutant in every}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}; --list names them")
    mutants = [mutant for mutant in every if not asked.names or mutant.name in asked.names]
    problems = {mutant.name: problem for mutant in mutants if (problem := mutant.problem())}
    for name, problem in problems.items():
        print(f"cannot be made  {name}: {problem}")
    if asked.list or problems:
        print(*(mutant.name for mutant in mutants), sep="\n")
        return bool(problems)
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_checkout(Path(folder))
        tests = sorted({word for mutant in mutants for word in mutant.tests.split()})
        if run_tests(copy, tests) != PASSED:
            print("the tests fail without any mutant; run them:", "pytest -x", *tests)
            return 1
        survivors = 0
        for mutant in mutants:
            started = time.perf_counter()
            survived = mutant.survives(copy)
            survivors += survived
            print(
                f"{'SURVIVED' if survived else 'killed':8}  {time.perf_counter() - started:4.0f} s  {mutant.name}",
                flush=True,
            )
    print(f"{len(mutants) - survivors} of {len(mutants)} killed")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
