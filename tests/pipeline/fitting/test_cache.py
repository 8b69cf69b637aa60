"""What is said about a stage before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from feature_audit.fitting.cache import open_folder, stage_key


def test_a_refused_run_leaves_nothing_to_continue(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    key = stage_key("retrain", config={"k": 5}, inputs={})
    folder = open_folder(tmp_path, key)  # and then the run is refused
    open_folder(tmp_path, key)
    (folder.path / "pruned_0.json").write_text("{}", encoding="utf-8")  # a training that finished
    open_folder(tmp_path, key)
    folder.finish({})
    assert open_folder(tmp_path, key).done
    said = [record.getMessage().removeprefix("retrain: ").split(" with")[0] for record in caplog.records]
    assert said == ["running for the first time"] * 2 + ["continuing what was interrupted", "done before"]
