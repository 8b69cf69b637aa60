"""A full model from a file: what is refused, with which message."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click_log import make_log
from command_line import feature_audit, tracking_in
from torch import Tensor

COLUMNS = ("impression", "ts", "price_gap", "taste", "device", "noise_cat_0", "clicked")
WORDS = (
    "baseline", "--data", "log.parquet", "--target", "clicked", "--row_id", "impression", "--time", "ts", "--threads",
    "1", "--profile", "quick",
)  # fmt: skip
OWN = """
from feature_audit.models import build_model
from torch import nn


class Team(nn.Module):
    def __init__(self, schema):
        super().__init__()
        self.net = build_model("mlp", schema, embedding_dim=4, params={"hidden": [8]})

    def embed(self, batch):
        return self.net.embed(batch)

    def predict(self, embedded):
        return self.net.predict(embedded)


def build(schema):
    return Team(schema)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a log, and the full model that an audit of it trained, without its encoders."""
    with tracking_in(tmp_path_factory.mktemp("checkpoint")) as folder:
        make_log(900).select(COLUMNS).write_parquet(folder / "log.parquet")
        (folder / "team.py").write_text(OWN, encoding="utf-8")
        assert feature_audit(*WORDS) == 0
        next(folder.glob(".audit/baseline/*/full.pt")).rename(folder / "full.pt")
        next(folder.glob(".audit/baseline/*/encoders.json")).rename(folder / "kept_encoders.json")
        yield folder
    sys.modules.pop("team", None)


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


class Code:
    """An object whose pickle runs code when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r"no such file \(looked in /"),
        (b"", r"cannot be read"),
        (b"weights", r"is not a torch file that contains only tensors, and is not opened; save it with"),
        (
            {"state_dict": {"a": torch.zeros(1)}, "epoch": 3},
            r"contains state_dict, epoch, which are not tensors; save it",
        ),
        (
            {"state_dict": {"a": torch.zeros(1)}},
            r"contains state_dict, which is not a tensor; save it with torch.save\(model",
        ),
        ({}, r"contains nothing"),
        ([torch.zeros(1)], r"contains a list"),
        ({"a": Code()}, r"is not a torch file that contains only tensors"),
        (torch.nn.Linear(1, 1), r"is not a torch file that contains only tensors"),
    ],
)
def test_a_file_that_is_not_a_state_dict_is_refused_at_once(
    home: Path, capsys: pytest.CaptureFixture[str], content: Any, says: str
) -> None:
    path = home / "bad.pt"
    path.unlink(missing_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    assert feature_audit(*WORDS, "--checkpoint", "bad.pt") == 2
    assert re.search(f"checkpoint=bad.pt: {says}", line_of(capsys))
    assert not Path("ran").exists(), "code in a checkpoint is never run"


def _without(state: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: _without(s, min(s)), r"lacks {first}, unlike model=dcn_v2 over the 4 features of this log; give"),
        (lambda s: _without(s, "scaling.shift"), r"lacks scaling.shift, unlike"),
        (lambda s: s | {"head.x": torch.zeros(2)}, r"has head.x, unlike model=dcn_v2"),
        (lambda s: {f"net.{name}": value for name, value in s.items()}, r"lacks .* and \d+ more and has net\."),
        (lambda s: s | {min(s): torch.zeros(3, 7)}, r"has {first} \(3, 7\) instead of \("),
        (lambda s: s | {min(s): s[min(s)] * torch.nan}, r"{first} contains values that are not finite"),
    ],
)  # fmt: skip
def test_tensors_that_are_not_the_models_are_named_before_anything_is_trained(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    says: str,
) -> None:
    state = torch.load(home / "full.pt", weights_only=True)
    torch.save(change(state), home / "changed.pt")
    assert feature_audit(*WORDS, "--checkpoint", "changed.pt") == 1
    assert re.search("checkpoint=changed.pt: " + says.format(first=re.escape(min(state))), line_of(capsys))


def test_another_width_is_a_mistake_of_shapes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert feature_audit(*WORDS, "--checkpoint", "full.pt", "--training", "{embedding_dim: 6}") == 1
    assert "instead of" in line_of(capsys)


def test_a_single_checkpoint_cannot_be_compared_against_retrainings(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert feature_audit(*WORDS, "--checkpoint", "full.pt", "--against", "retrained") == 2
    assert "against=retrained: checkpoint=full.pt is a single training" in line_of(capsys)
    assert feature_audit(*WORDS, "--checkpoint", "full.pt", "--trainer", "job:train") == 2
    assert "each one defines the full model" in line_of(capsys)


def test_the_encoders_of_a_checkpoint_must_match_the_log(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shapes agree, but the meaning does not: two words have other codes."""
    folder = home / "moved"
    folder.mkdir()
    (folder / "full.pt").write_bytes((home / "full.pt").read_bytes())
    encoders = json.loads((home / "kept_encoders.json").read_text(encoding="utf-8"))
    (folder / "encoders.json").write_text(json.dumps(encoders), encoding="utf-8")
    assert feature_audit(*WORDS, "--checkpoint", "moved/full.pt") == 0
    assert "not checked" not in capsys.readouterr().err
    device = next(one for one in encoders["encoders"] if one["name"] == "device")
    words = next(value for value in device.values() if isinstance(value, list) and "phone" in value)
    words.reverse()
    (folder / "encoders.json").write_text(json.dumps(encoders), encoding="utf-8")
    state = torch.load(folder / "full.pt", weights_only=True)
    torch.save({name: value + 0.001 for name, value in state.items()}, folder / "again.pt")
    assert feature_audit(*WORDS, "--checkpoint", "moved/again.pt") == 1
    assert "was trained with different encodings of device, of 4 features (moved/encoders.json)" in line_of(capsys)


@pytest.mark.parametrize("wrapped", ["", "module."])
def test_a_teams_own_model_keeps_its_names(home: Path, capsys: pytest.CaptureFixture[str], wrapped: str) -> None:
    """Saved directly, or by DistributedDataParallel or an audit, which add a prefix to every name."""
    words = (*WORDS, "--model", "team:build")
    assert feature_audit(*words, "--experiment", f"own{wrapped}") == 0
    trained = max(home.glob(".audit/baseline/*/full.pt"), key=lambda path: path.stat().st_mtime)
    state = torch.load(trained, weights_only=True)
    own = {name: value for name, value in state.items() if not name.startswith("scaling.")}
    own = {f"{wrapped}{name.removeprefix('module.')}": value for name, value in own.items()}
    torch.save(own, home / "team.pt")
    capsys.readouterr()
    assert feature_audit(*words, "--checkpoint", "team.pt") == 0
    assert "loaded from team.pt" in capsys.readouterr().err


def test_a_safetensors_file_is_read_as_well(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file = pytest.importorskip("safetensors.torch", reason="optional: pip install safetensors").save_file
    save_file(torch.load(home / "full.pt", weights_only=True), home / "full.safetensors")
    assert feature_audit(*WORDS, "--checkpoint", "full.safetensors") == 0
    assert "loaded from full.safetensors" in capsys.readouterr().err
    (home / "bad.safetensors").write_bytes(b"weights")
    assert feature_audit(*WORDS, "--checkpoint", "bad.safetensors") == 2
    assert "checkpoint=bad.safetensors: is not a safetensors file" in line_of(capsys)


def test_an_untrained_checkpoint_is_at_chance(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.load(home / "full.pt", weights_only=True)
    torch.manual_seed(1)
    torch.save({name: torch.randn_like(value) / 10 for name, value in state.items()}, home / "raw.pt")
    assert feature_audit(*WORDS, "--checkpoint", "raw.pt") == 0
    assert "than chance; check target" in capsys.readouterr().err
