"""The entry of CI: it fails if the browser cannot be installed, unless a switch allows to continue without one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / ".ci" / "run"
#: Instead of the environment that the script creates next.
NEXT = 42


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The only programs that the script finds: without a browser, and without creating an environment."""
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    _program(tmp_path, "python3", f"exit {NEXT}")
    return tmp_path


def _program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!{shutil.which('bash')}\n{body}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def _run(programs: Path, **switches: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(programs), **switches}
    return subprocess.run(["bash", str(RUN)], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("installer", "reason"),
    [(None, "apt-get: command not found"), ("echo one; echo E: are you root? >&2; exit 100", "(E: are you root?)")],
)
def test_without_a_browser_ci_fails_in_one_line(programs: Path, installer: str | None, reason: str) -> None:
    if installer is not None:
        _program(programs, "apt-get", installer)
    done = _run(programs)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert reason in line
    assert "SKIP_BROWSER=1" in line


def test_it_goes_on_with_the_switch_or_where_a_browser_is_there_or_was_installed(programs: Path) -> None:
    assert _run(programs, SKIP_BROWSER="1").returncode == NEXT
    _program(programs, "apt-get", "exit 0")
    assert _run(programs).returncode == NEXT
    (programs / "apt-get").unlink()
    for name in ("chromium", "chromedriver"):
        assert _run(programs).returncode == 1, f"{name} is not there"
        _program(programs, name, "exit 0")
    assert _run(programs).returncode == NEXT
