"""One validated configuration from profile, files and command line; and the inverse: which values the user set."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from feature_audit.config import PROFILES, AuditConfig
from feature_audit.config.sections import NamedMistake
from feature_audit.errors import UsageError, shortened

#: Keys that contain keys themselves, each with a default.
_SECTIONS = tuple(
    name
    for name, field in AuditConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
)


#: Mappings that may also be written as a list of names.
_OR_NAMES = ("targets",)


def is_mapping(key: str) -> bool:
    """Whether a configuration key is written as a mapping: a section, or names and their values."""
    return key in _SECTIONS or dict in _forms(key)


def _forms(key: str) -> set[Any]:
    """The outer types that a key's value may have: dict and str for ``dict[str, float] | str``."""
    annotation = AuditConfig.model_fields[key].annotation
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return {get_origin(part) or part for part in parts}


_INLINE = "write it as --{key} \"{{name: value, '*_glob': value}}\", quote names that contain special characters"


def load_config(files: str | None, overrides: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> AuditConfig:
    """Merge profile, file(s) and command line into one validated configuration.

    Args:
        files: comma-separated YAML paths, later ones win, or None.
        overrides: key -> raw value from the command line, mappings and lists as YAML; None and "" mean "not given".
        base: values that the files override, e.g. ``given_values`` of an earlier audit.

    Raises:
        UsageError: a file is missing or not a mapping, a key is unknown, or a value does not fit; one line.
    """
    merged = _merge(dict(base or {}), read_given(files, overrides))
    profile = str(merged.get("profile", "default"))
    if profile in PROFILES:
        merged = _merge(PROFILES[profile], merged)
    try:
        return AuditConfig.model_validate(merged)
    except ValidationError as error:
        raise UsageError(shortened(_one_line(error))) from None


def read_given(files: str | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The unvalidated values of files and command line; arguments and errors as in ``load_config``."""
    given = {key: _read_inline(key, value) for key, value in overrides.items() if value not in (None, "")}
    merged: dict[str, Any] = {}
    for name in filter(None, (part.strip() for part in (files or "").split(","))):
        merged = _merge(merged, _read_yaml(Path(name)))
    return _merge(merged, given)


def given_values(config: AuditConfig) -> dict[str, Any]:
    """The values of a configuration that differ from its profile, as YAML; as ``base``, another profile may follow.

    Values that equal those of the profile or the defaults are left out, even if the user gave them.
    """
    plain = AuditConfig.model_validate({**PROFILES[config.profile], "profile": config.profile})
    given = _beyond(config.model_dump(mode="json"), plain.model_dump(mode="json"))
    return given if config.profile == "default" else {**given, "profile": config.profile}


def _beyond(values: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    """The values that differ from ``below``; within a section, only the keys that differ."""
    found = {key: value for key, value in values.items() if value != below[key]}
    return {key: _beyond(value, below[key]) if key in _SECTIONS else value for key, value in found.items()}


def _read_inline(key: str, value: Any) -> Any:
    """Parse a command-line value: mappings as YAML, lists as YAML or comma-separated, other values unchanged."""
    if not isinstance(value, str) or key not in AuditConfig.model_fields:
        return value
    mapping = is_mapping(key)
    if not mapping and not (tuple in _forms(key) and value.lstrip().startswith(("[", "{"))):
        return value
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError as error:
        if not mapping:  # a glob may also start with a bracket
            return value
        problem = " ".join(str(getattr(error, "problem", error)).split())
        raise UsageError(f"{key}={value!r}: not valid YAML ({problem}); {_INLINE.format(key=key)}") from None
    if mapping and not isinstance(read, dict):
        if str in _forms(key) or key in _OR_NAMES:
            return read if isinstance(read, list) else value
        raise UsageError(f"{key}={value!r}: not a mapping; {_INLINE.format(key=key)}")
    if mapping:
        for name in (name for name, held in read.items() if held is None and ":" in str(name)):
            blank = ": ".join(name.split(":", 1))
            raise UsageError(f"{key}={value!r}: {name} has no value; YAML needs a blank after the colon ({blank})")
    return read if isinstance(read, list | dict) else value


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(
            f"config={path}: no such file (looked in {path.resolve().parent}); give the path of a YAML file"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise UsageError(f"config={path}: not a text file in UTF-8; {_yaml_or_log(path)}") from None
    except yaml.YAMLError as error:
        problem = shortened(" ".join(str(error).split()))
        raise UsageError(f"config={path}: not valid YAML: {problem}; {_yaml_or_log(path)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        held = "a list" if isinstance(content, list) else "text" if isinstance(content, str) else f"only {content}"
        raise UsageError(f"config={path}: contains {held}; {_yaml_or_log(path)}")
    return content


def _yaml_or_log(path: Path) -> str:
    """The remedy for a file that is not a configuration; often it is the log."""
    log = "" if path.suffix.lower() in (".yaml", ".yml") else f", or data={path} if it is the log"
    return f"give a YAML file of `key: value` lines{log}"


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` wins key by key; sections and ``model_params`` merge, lists and other free mappings are replaced."""
    sections = {*_SECTIONS, "model_params"}
    merged = dict(below)
    for key, value in above.items():
        if key in sections and isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = {**merged[key], **value}
        else:
            merged[key] = value
    return merged


#: Remedy per pydantic error type.
_REMEDIES = {
    "int_type": "give a whole number such as 3",
    "int_parsing": "give a whole number such as 3",
    "int_from_float": "give a whole number such as 3",
    "float_type": "give a plain number such as 0.5",
    "finite_number": "give a finite number such as 0.5",
    "bool_type": "give true or false",
    "bool_parsing": "give true or false",
    "string_type": "give text, in quotes if YAML reads it as another type",
    "string_pattern_mismatch": "give auto, cpu, cuda or cuda:0",  # of device, the one key with a pattern
    "invalid_key": "names must be text; put them in quotes",
    "tuple_type": "give a list such as [a, b]",
    "dict_type": "give a mapping such as {name: value}",
}


def _one_line(error: ValidationError) -> str:
    parts = []
    for problem in error.errors():
        key = ".".join(str(step) for step in problem["loc"] if step not in ("int", "literal['auto']", "[key]"))
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key.split(".")[-1], _known_keys(problem["loc"]), n=1)
            hint = f"did you mean {near[0]}?" if near else "`feature-audit run --help` lists every key"
            parts.append(f"{key}: unknown key; {hint}")
            continue
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, NamedMistake):
            parts.append(str(cause))
            continue
        message = problem["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        message = _choices(problem) or _number_hint(key, problem) or _REMEDIES.get(problem["type"]) or message
        shown = f"{key}={problem['input']!r}" if key else "config"
        parts.append(f"{shown}: {message}" if key else message)
    return "; ".join(dict.fromkeys(parts))


def _choices(problem: Mapping[str, Any]) -> str | None:
    """The allowed words of a key that accepts only these."""
    if problem["type"] != "literal_error" or " or " not in problem["ctx"]["expected"]:
        return None
    return f"choose {problem['ctx']['expected'].replace(chr(39), '')}"


def _number_hint(key: str, problem: Mapping[str, Any]) -> str | None:
    """The remedy for a percentage (``95``, ``95 %``) or a decimal comma (``0,95``)."""
    if key == "confidence" and problem["type"] in ("less_than", "greater_than"):
        return "give a share between 0.5 and 1, such as 0.95"
    if problem["type"] != "float_parsing":
        return None
    written = re.fullmatch(r"([+-]?\d*[.,]?\d+)\s*(%?)", str(problem["input"]).strip())
    if not written:
        return "give a plain number such as 0.5"
    number = float(written[1].replace(",", ".")) / (100 if written[2] else 1)
    return f"give {key}={number:.12g}, a plain number"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = AuditConfig
    for step in location[:-1]:
        annotation = model.model_fields[str(step)].annotation if str(step) in model.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return list(model.model_fields)
