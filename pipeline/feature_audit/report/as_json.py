"""The report as JSON: stable keys, full precision, ``null`` for numbers that are not finite."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from feature_audit.results import AuditReport

#: Incremented when a key is removed or changes its meaning; new keys do not change it.
SCHEMA_VERSION = 1


def render_json(report: AuditReport) -> str:
    """The complete report, one key per attribute of ``AuditReport``, in order, after ``schema_version``.

    Floats are written with all digits. JSON has no NaN or infinity: these become ``null``.
    """
    content = {"schema_version": SCHEMA_VERSION, **to_plain(report)}
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def json_schema() -> str:
    """The JSON schema (draft 2020-12) of the output of ``render_json``.

    A number may be ``null`` anywhere, because JSON has no NaN or infinity.
    """
    schema = TypeAdapter(AuditReport).json_schema(mode="serialization", schema_generator=_NumbersOrNull)
    version = {"const": SCHEMA_VERSION, "description": "raised when a key changes its meaning or is removed"}
    schema["properties"] = {"schema_version": version, **schema["properties"]}
    schema["required"] = ["schema_version", *schema["required"]]
    content = {"$schema": GenerateJsonSchema.schema_dialect, **schema}
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


class _NumbersOrNull(GenerateJsonSchema):
    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"type": ["number", "null"]}


def read_json(text: str) -> AuditReport:
    """Parse the output of ``render_json``; ``null`` is read as NaN where a number is required.

    Raises:
        ValueError: the text has another schema version.
    """
    content = json.loads(text)
    version = content.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema_version={version}: this version of Feature Audit reads {SCHEMA_VERSION}")
    report: AuditReport = _build(AuditReport, content)
    return report


def to_plain(value: Any) -> Any:
    """Convert to JSON types: dataclasses to dicts, NumPy scalars to Python's, other objects to text."""
    result = value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        result = {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    elif isinstance(value, Mapping):
        result = {str(key): to_plain(item) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        result = [to_plain(item) for item in value]
    elif isinstance(value, (set, frozenset)):
        result = [to_plain(item) for item in sorted(value, key=str)]
    elif isinstance(value, float):  # includes np.float64
        result = float(value) if math.isfinite(value) else None
    elif isinstance(value, str):
        # A lone surrogate cannot be written as UTF-8; everything else passes unchanged.
        result = value.encode("utf-8", "replace").decode("utf-8")
    elif value is not None and not isinstance(value, (bool, int)):
        result = to_plain(value.tolist()) if hasattr(value, "tolist") else str(value)
    return result


def _build(kind: Any, value: Any) -> Any:
    """``value``, parsed from JSON, as the annotated type ``kind`` of an attribute."""
    if value is None:
        return math.nan if kind is float else None
    if NoneType in get_args(kind):  # X | None
        kind = get_args(kind)[0]
    if get_origin(kind) is list:
        return [_build(get_args(kind)[0], item) for item in value]
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        kinds = get_type_hints(kind)
        return kind(**{key: _build(kinds.get(key), item) for key, item in value.items()})
    return value
