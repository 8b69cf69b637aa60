"""The reference of the settings, written from the configuration's classes: YAML, Markdown, JSON schema, ``--help``."""

from __future__ import annotations

import json
import textwrap
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from feature_audit.config.audit_config import AuditConfig
from feature_audit.config.log_keys import LogKeys, SplitKeys
from feature_audit.config.question_keys import QuestionKeys
from feature_audit.config.sections import Section
from feature_audit.config.work_keys import ModelKeys, ResultKeys, WorkKeys

#: Classes of plain keys, in the order of the reference; a class's docstring is its heading.
GROUPS: tuple[type[Section], ...] = (LogKeys, SplitKeys, QuestionKeys, ModelKeys, WorkKeys, ResultKeys)

_WIDTH = 119
_YAML_HEAD = """\
# Every key of an audit with its default. Nothing is set here, because a file wins over the profile and over what the
# demo log says of itself. Copy the lines you need into a file of your own, without the `#`:
#
#   mlflow run . -P config=conf/mine.yaml -P k=200
#
# Precedence: command line > file(s), later ones over earlier ones > profile > default. Every key is also an option of
# `feature-audit run` and a parameter of `mlflow run`; mappings and sections are written there as YAML, for example
# --kinds "{age: numeric, '*_id': categorical}" or -P training="{max_epochs: 5}". Paths are relative to the folder in
# which the command is started. Lines `#key: value` are keys and defaults; lines `# text` explain them.
# Written by scripts/reference.py from pipeline/feature_audit/config/; edit the descriptions there.
"""
_MARKDOWN_HEAD = """\
# Configuration

Every key is an option of `feature-audit run` (`--margin 0.001`), a parameter of `mlflow run` (`-P margin=0.001`) and a
line of a YAML file (`--config mine.yaml`). Precedence: command line > file(s), later ones over earlier ones > profile >
default. Mappings and sections are written on the command line as YAML: `--kinds "{age: numeric, '*_id': categorical}"`.

The package contains this page as a JSON schema for editors that check YAML files:
`feature_audit/schemas/config.schema.json`.

<!-- Written by scripts/reference.py from pipeline/feature_audit/config/. -->
"""


def sections() -> dict[str, type[Section]]:
    """Key -> class, of the keys that hold keys of their own."""
    kinds = {name: field.annotation for name, field in AuditConfig.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}


def headings() -> dict[str, list[str]]:
    """Heading -> keys, in the order of the reference."""
    return {str(group.__doc__): list(group.model_fields) for group in GROUPS} | {"Sections": list(sections())}


def short_help(field: FieldInfo) -> str:
    """The first sentence of a key's description and its default, where that is a plain value."""
    text = (field.description or "").split(". ")[0].rstrip(".")
    default = _default(field)
    return text if default in (None, [], {}) or isinstance(default, dict) else f"{text} [{_value(default)}]"


def as_yaml() -> str:
    """``conf/default.yaml``: every key commented out, with its description above it."""
    parts = [_YAML_HEAD]
    for group in GROUPS:
        parts.append(_rule(str(group.__doc__)))
        keys = group.model_fields.items()
        parts += [f"{_comment(field, 0)}#{name}: {_value(_default(field))}\n" for name, field in keys]
    for name, section in sections().items():
        keys = section.model_fields.items()
        lines = [f"{_comment(field, 2)}#  {key}: {_value(_default(field))}\n" for key, field in keys]
        title, _, rest = str(AuditConfig.model_fields[name].description).partition(".")
        parts.append(f"{_rule(title)}{_wrapped(rest, 0)}#{name}:\n{''.join(lines)}")
    return "\n".join(parts)


def as_markdown() -> str:
    """The page of the reference: a table of keys per group and section."""
    parts = [_MARKDOWN_HEAD]
    for group in GROUPS:
        parts.append(f"## {group.__doc__}\n\n{_table(group, '')}")
    for name, section in sections().items():
        parts.append(f"## `{name}`\n\n{AuditConfig.model_fields[name].description}\n\n{_table(section, name + '.')}")
    return "\n".join(parts)


def as_json_schema() -> str:
    """The JSON schema of a configuration file (draft 2020-12)."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **AuditConfig.model_json_schema()}
    for key in schema["properties"].values():
        if key.get("type") == "array":
            key["type"] = ["array", "string"]  # comma-separated
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _default(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True)
    return default.model_dump(mode="json") if isinstance(default, BaseModel) else _plain(default)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _value(value: Any) -> str:
    """A value as one line of YAML; small floats without an exponent, which YAML 1.1 takes for text."""
    if isinstance(value, float) and 0 < abs(value) < 1e-3:
        return f"{value:.12f}".rstrip("0")
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).removesuffix("...\n").strip()


def _rule(title: str) -> str:
    return f"# --- {title[0].lower()}{title[1:]} ".ljust(_WIDTH, "-") + "\n"


def _wrapped(text: str, indent: int) -> str:
    lines = textwrap.wrap(text, _WIDTH - 2 - indent, break_long_words=False, break_on_hyphens=False)
    return "".join(f"{' ' * indent}# {line}\n" for line in lines)


def _comment(field: FieldInfo, indent: int) -> str:
    examples = "; ".join(_value(_plain(example)) for example in field.examples or ())
    return _wrapped(str(field.description), indent) + (_wrapped(f"Example: {examples}", indent) if examples else "")


def _table(kind: type[BaseModel], prefix: str) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in kind.model_fields.items():
        examples = [f"`{_value(_plain(example))}`" for example in field.examples or ()]
        said = " Example: " + ", ".join(examples) + "." if examples else ""
        cells = [
            f"`{prefix}{name}`",
            _type(field.annotation),
            f"`{_value(_default(field))}`",
            f"{field.description}{said}",
        ]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


_TYPES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "null",
    tuple: "list",
    dict: "mapping",
}


def _type(annotation: Any) -> str:
    """A type in words; choices stand in the description."""
    origin = get_origin(annotation)
    if origin in (tuple, dict) or annotation in _TYPES:
        return _TYPES[origin or annotation]
    parts = get_args(annotation)
    if all(isinstance(part, str) for part in parts):
        return "word" if len(parts) > 1 else f"`{parts[0]}`"
    words = dict.fromkeys(_type(part) for part in parts if part is not type(None))
    return ", ".join(words)
