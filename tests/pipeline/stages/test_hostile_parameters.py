"""Unusual and invalid parameters: each is refused in one line with key, value and remedy, or takes effect."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from command_line import feature_audit, parents, tracking_in
from feature_audit.config import AuditConfig
from feature_audit.config.files import load_config
from feature_audit.errors import UsageError
from hostile import ROWS, TABLE
from pydantic import BaseModel

NONE = "no such column; the table has x, z, c, y, u, t and 2 more"
TARGET_ITSELF = "this is the target itself; name another column, or leave out"
#: Key -> value -> the expected error; for an accepted value, a message of the load stage.
REFUSED = {
    "target": {
        "nope": NONE, "X": "did you mean x?", "x*": "neither a column nor an expression", "": "target: not given",
        "5": "the expression does not use any column", "x >": "neither a column nor an expression",
        "q > 1": "no column q",
        "w" * 5_000: "target=wwww",
    },
    "row_id": {"nope": NONE, "x*": "did you mean x?", "u": "260 duplicate ids", "y": TARGET_ITSELF, "a\nb": NONE},
    "time": {
        "nope": NONE, "y": TARGET_ITSELF, "c": "does not match any known datetime format; give ISO dates or numbers",
    },
    "group": {"nope": NONE, "y": TARGET_ITSELF, "[x, z]": NONE},
    "split": {
        "nope": "give time, random, group or the name of a split column", "y": TARGET_ITSELF,
        "c": "unknown value 'ams'; the column may contain train", "time": "needs a time column",
        "group": "needs a group",
    },
    "production_score": {
        "nope": NONE, "y": TARGET_ITSELF, "c": "not a number", "t": "is not numeric; name a numeric column",
    },
    "exclude": {"nope": NONE, "q*": "no column matches", "*": "no column is left", "{a: 1}": "give a list such as"},
    "never_drop": {
        "nope": "no such column", "q*": "no column matches", "y": "is not a feature", "y*": "no column matches",
    },
    "always_drop": {"nope": "no such column", "y": "the column is not a feature"},
    "kinds": {
        "{x: nope}": "kinds.x='nope': choose numeric", "{nope: numeric}": NONE, "{'q*': numeric}": "no column matches",
        "[]": "not a mapping", "{x: vector}": "which cannot be read as vector", "{5: numeric}": "in quotes",
        "{c: numeric}": "100% of its cells are not numbers",
        "{x: datetime}": "does not match any known datetime format",
    },
    "groups": {"{g: [nope]}": NONE, "{g: nope}": "give a list", "{g: [x], h: [x]}": "also in groups.g"},
    "whole_groups": {"nope": "no such group"},
    "cost": {
        "{nope: 1}": NONE, "{x: -1}": "0 or more", "{x: .nan}": "0 or more", "no.csv": "cannot be read",
    },
    "slices": {"nope": NONE, "{c: [q]}": "no row has this value", "{c: {top: 1e9}}": "n from 1 to 1000"},
    "guards": {
        "{auc: 1}": "is the decision metric", "[auc]": "not a mapping",
        "{logloss: .nan}": "a finite number of 0 or more",
    },
    "positive": {"2": "target=y has the values 0 and 1; give one of them", "{a: 1}": "give one of them"},
    "split_files": {"{train: a}": "give the files of train and test", "{nope: a}": "choose train, validation or test"},
    "reader": {
        "{separator: 5}": "give text, in quotes", "{separator: ''}": "at least one character", "text": "not a mapping",
        "{has_header: maybe}": "give true or false", "{null_value: a}": "did you mean null_values?",
    },
    "model": {
        "nope": "choose mlp, dcn_v2, deepfm", "dcn-v2": "did you mean dcn_v2?",
        "ranker.build": "did you mean ranker:build?", "a:b": "cannot import a",
        "::": "write it as package.module:function", "../x:y": "importing ../x fails",
    },
    "selector": {"nope": "choose ip_cae", "IP_CAE": "did you mean ip_cae?"},
    "metric": {"nope": "unknown; choose auc", "rmse": "does not fit task=binary", f"ndcg@{10**20}": "1 to 9 digits"},
    "device": {"gpu": "give auto, cpu, cuda or cuda:0", "cuda:": "give auto, cpu, cuda"},
    "prepare": {"nope": "write it as package.module:function", "json:loads": "failed with JSONDecodeError"},
    "model_params": {"{nope: 1}": "do not fit", "5": "not a mapping", "{a: !!python/name:os.system ''}": "YAML"},
    "work_dir": {"/proc/none": "cannot be written to", "/dev/null": "give another folder"},
    "experiment": {"x" * 600: "experiment=xxx"},
    "model_name": {"a/b": "give one such as a-b", "x" * 300: "1 to 256 characters", "..": "that is not a path"},
    "drop_rows": {"nope": "choose no_time, no_label or no_group"},
    "gate": {"2": "give true or false"},
    "profile": {"Quick": "choose quick, default or thorough"},
    "data": {"q*.csv": "the glob matches no file", "q": "no such file", "s3://x": "cannot be opened"},
    "config": {"no.yaml": "no such file", "/dev/null": "give the path of a YAML file"},
    "test_share": {"1e-300": "the test split has 0 of 300 rows", "0.999": "the train split has 0 of 300 rows"},
    "trust": {"nope": "give true or false"},
    "audit": {"nope": "no such run in sqlite:///"},
    "metrik": {"auc": "No such option '--metrik'. (Did you mean"},
}  # fmt: skip
#: Pairs of incompatible keys.
CLASHES = {
    "--never_drop x --always_drop x": "the column is also in never_drop",
    "--never_drop x --exclude x": "the column is not a feature",
    "--time t --split t": "unknown value",
}
MEANT = {
    "--row_id i --time t --group u": "split time",
    "--row_id t --group t --time t": "split time",
    "--never_drop *": "7 features",
    "--always_drop c*": "7 features",
    f"--k {2**31 - 1}": "has no effect: only 7 features are usable",
    "--positive 0": "54.7 % positive",
    "--split s": "split column",
    "--exclude x,x": "6 features",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a table that has every role; at the end, no run may be in state RUNNING."""
    with tracking_in(tmp_path_factory.mktemp("parameters")) as folder:
        start = datetime(2024, 1, 1)
        TABLE.with_columns(
            u=pl.Series([f"u{row % 40}" for row in range(ROWS)]),
            t=pl.Series([start + timedelta(hours=row) for row in range(ROWS)]),
            i=pl.int_range(ROWS),
            s=pl.Series(["train"] * 200 + ["validation"] * 40 + ["test"] * 60),
        ).write_parquet(folder / "log.parquet")
        yield folder
        assert {run.info.status for run in parents()} <= {"FINISHED", "FAILED"}


def loaded(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and, after a refusal, its line."""
    given = {"--data": "log.parquet", "--target": "y"}
    words = [*words, *(word for key, value in given.items() if key not in words for word in (key, value))]
    capfd.readouterr()
    code = feature_audit("load", *words, "--threads", "1")
    written = capfd.readouterr().err
    assert "Traceback" not in written
    lines = [line for line in written.splitlines() if "error:" in line]
    assert len(lines) == (code != 0), written
    return code, lines[0] if lines else written


@pytest.mark.parametrize("key", REFUSED)
def test_what_is_refused(
    home: Path, capfd: pytest.CaptureFixture[str], key: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("cases", len(REFUSED[key]))
    for value, says in REFUSED[key].items():
        code, line = loaded([f"--{key}", value], capfd)
        assert code in (1, 2), line
        assert says in line
        assert key in line or key in ("data", "config", "test_share"), line
        assert len(line) < 1_000


@pytest.mark.parametrize("words", CLASHES)
def test_contradictory_settings_are_refused(home: Path, capfd: pytest.CaptureFixture[str], words: str) -> None:
    code, line = loaded(words.split(), capfd)
    assert code in (1, 2)
    assert CLASHES[words] in line


@pytest.mark.parametrize("words", MEANT)
def test_unusual_valid_settings_take_effect(home: Path, capfd: pytest.CaptureFixture[str], words: str) -> None:
    code, written = loaded(words.split(), capfd)
    assert code == 0, written
    assert MEANT[words] in written


def numeric_keys() -> list[str]:
    """Every key with a single number, with its section."""
    sections = {name: field.annotation for name, field in AuditConfig.model_fields.items()}
    nested = {name: kind for name, kind in sections.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}
    keys = {f"{name}.{key}": field for name, kind in nested.items() for key, field in kind.model_fields.items()}
    keys |= {name: field for name, field in AuditConfig.model_fields.items() if name not in nested}
    words = re.compile(r"int|float")
    skipped = ("positive", "cost", "kinds")
    return [
        key
        for key, field in keys.items()
        if words.search(re.sub(r"tuple\[.*\]|dict\[.*\]", "", str(field.annotation))) and key not in skipped
    ]


@pytest.mark.parametrize("key", numeric_keys())
def test_only_finite_numbers_in_range_are_accepted(
    key: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Only a finite number in the key's range is accepted, unchanged."""
    section, _, name = key.rpartition(".")
    file = tmp_path / "audit.yaml"
    texts = ("0", "-1", "1e30", str(10**20), ".nan", ".inf", "-.inf", "text", "true", "''", "[1]", "{a: 1}", "null")
    record_property("cases", len(texts))
    for text in texts:
        file.write_text(f"{section}:\n  {name}: {text}\n" if section else f"{name}: {text}\n")
        try:
            config = load_config(str(file), {})
        except UsageError as error:
            line = str(error)
        else:
            value, line = getattr(getattr(config, section) if section else config, name), f"{key} is taken"
            assert value is None if text == "null" else value == float(text)
            assert value is None or abs(value) <= (2**31 - 1 if isinstance(value, int) else 1e30)
        assert key in line
        assert "\n" not in line
