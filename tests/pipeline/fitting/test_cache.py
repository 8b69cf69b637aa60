"""Inputs of a stage's key, and the log line of a stage before it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from feature_audit import disk, errors, locking
from feature_audit.engine import environment
from feature_audit.fitting import cache
from feature_audit.fitting.cache import StageKey, open_folder, own_folder, stage_key


def test_a_refused_run_leaves_nothing_to_continue(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    key = stage_key("retrain", config={"k": 5}, inputs={})
    folder = open_folder(tmp_path, key)  # and then the run is refused
    open_folder(tmp_path, key)
    (folder.path / "pruned_0.json").write_text("{}", encoding="utf-8")  # a training that finished
    open_folder(tmp_path, key)
    folder.finish({})
    assert open_folder(tmp_path, key).done
    messages = [record.getMessage().removeprefix("retrain: ").split(";")[0] for record in caplog.records]
    assert messages == ["running for the first time"] * 2 + [
        "continuing after an interruption",
        "reused from the cache",
    ]


def test_a_miss_is_explained_by_the_most_similar_run_even_if_another_log_was_audited_since(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def finish(data: str, seed: int) -> None:
        key = stage_key("load", config={"data": data, "seed": seed}, inputs={"data": f"digest of {data}"})
        open_folder(tmp_path, key).finish({})

    for data, seed in [("clicks", 0), ("orders", 0), ("clicks", 1)]:
        finish(data, seed)
    assert [record.getMessage() for record in caplog.records] == [
        "load: running for the first time",
        'load: running again, changed since an earlier run: data "clicks" -> "orders", input.data',
        "load: running again, changed since an earlier run: seed 0 -> 1",
    ]


def test_a_marker_that_another_audit_removes_after_it_was_listed_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    open_folder(tmp_path, stage_key("load", config={"seed": 0}, inputs={})).finish({})
    listed = Path.glob
    removed = [tmp_path / "load" / "removed" / "marker"]
    monkeypatch.setattr(
        Path, "glob", lambda folder, pattern: [*listed(folder, pattern), *(removed if pattern.startswith("*/") else ())]
    )
    open_folder(tmp_path, stage_key("load", config={"seed": 1}, inputs={}))
    assert caplog.records[-1].getMessage() == "load: running again, changed since an earlier run: seed 0 -> 1"


def test_any_change_of_the_source_changes_every_key(tmp_path: Path) -> None:
    """In two small packages of the same names: contents, names and new modules matter, other files do not."""
    ours, theirs = tmp_path / "feature_audit", tmp_path / "concrete_selectors"
    for package in (ours / "fitting", ours / "engine", theirs):
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
    (ours / "__init__.py").touch()
    shutil.copy(str(cache.__file__), ours / "fitting" / "cache.py")
    shutil.copy(str(environment.__file__), ours / "engine" / "environment.py")
    for module in (locking, disk, errors):
        shutil.copy(str(module.__file__), ours)
    rule = theirs / "rule.py"
    rule.write_text("MARGIN = 1")

    def digest() -> str:
        code = "from feature_audit.fitting.cache import stage_key; print(stage_key('s', config={}, inputs={}).digest)"
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
        ).stdout

    seen = [digest()]
    (theirs / "notes.txt").write_text("no code")
    assert digest() == seen[0]
    rule.write_text("MARGIN = 2")
    seen.append(digest())
    rule.rename(theirs / "rules.py")
    seen.append(digest())
    (ours / "fitting" / "more.py").touch()
    seen.append(digest())
    assert len(set(seen)) == len(seen)


def test_a_key_depends_on_stage_settings_and_inputs_and_on_each_by_its_name() -> None:
    keys = [
        stage_key(stage, config=config, inputs=inputs).digest
        for stage, config, inputs in (
            ("select", {}, {}),
            ("retrain", {}, {}),
            ("select", {"k": 5}, {}),
            ("select", {"k": 6}, {}),
            ("select", {"k": None}, {}),
            ("select", {"k_min": 5}, {}),
            ("select", {}, {"k": "5"}),
            ("select", {}, {"store": "5"}),
            ("select", {}, {"store": "6"}),
        )
    ]
    assert len(set(keys)) == len(keys)


def test_another_version_of_a_library_changes_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = stage_key("select", config={}, inputs={})
    version_of = environment.version_of
    for library in ("torch", "polars", "numpy", "scikit-learn", "scipy", "optuna"):
        with monkeypatch.context() as patch:
            patch.setattr(environment, "version_of", lambda name, new=library: version_of(name) + "1" * (name == new))
            assert stage_key("select", config={}, inputs={}).digest != key.digest


def test_a_stage_that_another_audit_runs_is_waited_for_and_then_reused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    key = stage_key("select", config={}, inputs={})
    code = (
        "import sys\nfrom pathlib import Path\nfrom feature_audit.fitting.cache import own_folder, stage_key\n"
        f"with own_folder(Path({str(tmp_path)!r}), stage_key('select', config={{}}, inputs={{}})) as folder:\n"
        "    print('at work', flush=True)\n    sys.stdin.readline()\n    folder.finish({'made': 1})\n"
    )
    path = os.pathsep.join(str(Path(__file__).parents[3] / part) for part in ("pipeline", "selectors"))
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert other.stdout is not None
    assert other.stdin is not None
    assert other.stdout.readline() == "at work\n"
    found: list[bool] = []
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: found.append(done(tmp_path, key)))
        while "another audit runs the same stage" not in caplog.text:
            assert not waiting.done()
            time.sleep(0.01)
        assert not found
        other.stdin.write("\n")
        other.stdin.flush()
        waiting.result(60)
    assert found == [True]
    other.communicate()


def done(work_dir: Path, key: StageKey) -> bool:
    with own_folder(work_dir, key) as folder:
        return folder.done


def test_a_failed_stage_releases_its_folder(tmp_path: Path) -> None:
    key = stage_key("select", config={}, inputs={})
    with pytest.raises(ZeroDivisionError), own_folder(tmp_path, key):
        _ = 1 / 0
    assert not done(tmp_path, key)
