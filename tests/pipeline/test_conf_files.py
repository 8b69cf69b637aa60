"""The shipped configuration files: all of them load, and the reference agrees with the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest
import yaml
from click.testing import CliRunner
from feature_audit.cli import main
from feature_audit.config import PROFILES, AuditConfig, reference
from feature_audit.config.files import load_config
from feature_audit.datasets.demo import DEFAULTS
from feature_audit.errors import UsageError
from pydantic.fields import FieldInfo

_ROOT = Path(__file__).parents[2]
_CONF = _ROOT / "conf"
_OTHERS = {"models", "launch"}  # Python files with their settings; files of schedulers, tested in test_launch.py
_FILES = sorted(path for path in _CONF.rglob("*.yaml") if not _OTHERS & set(path.relative_to(_CONF).parts))
_DATA = _ROOT / "../shared/data"


def _commented_keys(path: Path) -> dict[str, object]:
    """The `#key: value` lines of a file as YAML; `# text` lines are prose."""
    lines = path.read_text(encoding="utf-8").splitlines()
    keys = [line[1:] for line in lines if re.match(r"#( {2})?\w+:", line)]
    return dict(yaml.safe_load("\n".join(keys)) or {})


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(_CONF)))
def test_every_file_is_a_valid_configuration(path: Path) -> None:
    config = load_config(str(path), {})
    assert config.split != "time" or config.time
    for profile in PROFILES:
        assert load_config(f"{path},{_CONF / 'search' / profile}.yaml", {}).profile == profile


def test_there_is_a_file_for_each_example() -> None:
    assert {path.stem for path in _FILES} >= {
        "default",
        "demo",
        "santander",
        "criteo",
        "movielens",
        "quick",
        "thorough",
    }


def test_the_reference_sets_nothing_and_names_every_key_with_its_default() -> None:
    path = _CONF / "default.yaml"
    assert yaml.safe_load(path.read_text(encoding="utf-8")) is None
    documented = _commented_keys(path)
    defaults = json.loads(AuditConfig().model_dump_json())
    assert set(documented) == set(defaults)
    for key, value in defaults.items():
        assert documented[key] == value, key
        if isinstance(value, dict) and value:
            assert list(documented[key]) == list(value), key  # type: ignore[call-overload]


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    """Every key, those of a section as ``section.key``."""
    for name, field in AuditConfig.model_fields.items():
        yield name, field
        if name in reference.sections():
            yield from ((f"{name}.{key}", inner) for key, inner in reference.sections()[name].model_fields.items())


@pytest.mark.parametrize(("key", "field"), list(_fields()), ids=[key for key, _ in _fields()])
def test_every_key_is_explained_and_its_examples_are_accepted(key: str, field: FieldInfo) -> None:
    """A description consists of sentences, of which the first fits a line of `--help`."""
    assert field.description
    assert field.description.endswith((".", ")."))
    assert len(reference.short_help(field)) <= 90
    section, _, name = key.rpartition(".")
    for example in field.examples or ():
        load_config(None, {section: {name: example}} if section else {key: example, **_COMPANIONS.get(key, {})})


#: Keys that another key requires.
_COMPANIONS: dict[str, dict[str, Any]] = {"whole_groups": {"groups": {"user_profile": ["age"]}}}


def test_what_is_generated_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/reference.py", "--check"], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(_CONF)))
def test_every_file_follows_the_schema(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, _schema())


def test_the_schema_refuses_what_the_program_refuses() -> None:
    for wrong in ({"margn": 0.1}, {"profile": "fast"}, {"confidence": 1.5}, {"training": {"max_epochs": 0}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, _schema())
        with pytest.raises(UsageError):
            load_config(None, wrong)


@pytest.mark.parametrize(
    "given",
    [
        *({key: example} for key, about in AuditConfig.model_fields.items() for example in about.examples or ()),
        {"guards": {"calibration": 0.02, "logloss": "1%", "gauc": {"margin": 0.01}}},
        *({key: "a, b_*"} for key in ("exclude", "never_drop", "always_drop", "slices")),
    ],
    ids=str,
)
def test_the_schema_takes_every_form_that_the_program_takes(given: dict[str, Any]) -> None:
    (key,) = given
    load_config(None, given | _COMPANIONS.get(key, {}))
    jsonschema.validate(given, _schema())


def test_the_schema_refuses_a_guard_of_another_form() -> None:
    for wrong in ({"calibration": [0.02]}, {"calibration": {"mode": "not_worse"}}, ["calibration"]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"guards": wrong}, _schema())


def _schema() -> Any:
    return json.loads((_ROOT / "pipeline/feature_audit/schemas/config.schema.json").read_text(encoding="utf-8"))


def test_help_lists_every_key_under_a_heading() -> None:
    lines = CliRunner().invoke(main, ["run", "--help"]).output.splitlines()
    assert [line.rstrip(":") for line in lines if re.match(r"[A-Z].*:$", line)] == ["Options", *reference.headings()]
    listed = [option for line in lines for option in re.findall(r"^  --(\w+)", line)]
    assert set(listed) == {"config", *AuditConfig.model_fields}
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_search_file_says_what_its_profile_implies(profile: str) -> None:
    path = _CONF / "search" / f"{profile}.yaml"
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == {"profile": profile}
    assert _commented_keys(path) == PROFILES[profile]


def test_the_demo_file_is_what_the_demo_says_of_itself() -> None:
    given = yaml.safe_load((_CONF / "demo.yaml").read_text(encoding="utf-8"))
    assert given.pop("data") == "demo"
    assert given == json.loads(json.dumps(DEFAULTS))


@pytest.mark.parametrize("name", ["santander", "criteo", "movielens"])
def test_example_files_fit_their_data(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths start at the project's root; every named column exists, and every feature has a table."""
    from feature_audit.data.columns.roles import assign_roles, lookup
    from feature_audit.data.reading.source import open_source

    monkeypatch.chdir(_ROOT)
    config = load_config(f"conf/{name}.yaml", {})
    if not Path(config.data).is_file():
        pytest.skip(f"{config.data} is not there")
    frame = open_source(config, config.data, tmp_path, lambda message: None).frame
    schema = frame.collect_schema()
    roles = assign_roles(config, schema.names())
    tables = {glob: table for table, globs in config.groups.items() for glob in globs}
    assert [column for column in roles.candidates if lookup(tables, column) is None and column != "item_id"] == []
    if name == "criteo":
        assert frame.select("row").collect()["row"].to_list() == list(range(10_000))
        hashes = [column for column in schema if column.startswith("cat_")]
        assert {schema[column] for column in hashes} == {pl.String}
        assert all(schema[f"int_{number}"].is_integer() for number in range(1, 14))
