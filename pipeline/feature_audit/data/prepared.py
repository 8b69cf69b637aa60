"""The load stage's result: schema, findings, counts and the store's location. Plain data, saved as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from feature_audit.data.columns.kinds import schema_yaml
from feature_audit.disk import whole
from feature_audit.errors import AuditError
from feature_audit.findings import Finding
from feature_audit.schema import Column, ModelSchema

#: Written last; its presence means that everything else is complete.
MARKER = "prepared.json"


@dataclass(frozen=True)
class Prepared:
    """The prepared table.

    Attributes:
        directory: the training store (open with ``Store.open``).
        schema: usable fields only, in table order.
        columns: every candidate column, including excluded ones.
        findings: findings about the data.
        excluded: column -> why it is not a feature.
        rows: split -> rows.
        split_info: kind, boundaries, overlap between splits.
        digest: blake2b over the input's bytes and the configuration that affects the store.
        validation: the GX result as JSON, with ``passed`` added.
        summary: figures for the report.
        table_costs: source table -> annual cost of keeping it at all.
        content: blake2b over the full model's training data: the digest without the rules about columns.
        family: blake2b over the labels of all rows, in order; independent of the split and the columns.
    """

    directory: Path
    schema: ModelSchema
    columns: tuple[Column, ...]
    findings: tuple[Finding, ...]
    excluded: dict[str, str]
    rows: dict[str, int]
    split_info: dict[str, Any]
    digest: str
    validation: dict[str, Any]
    summary: dict[str, Any]
    table_costs: dict[str, float]
    content: str
    family: str

    def schema_yaml(self) -> str:
        """The inferred kinds as YAML that can be edited and put into the configuration."""
        return schema_yaml(self.columns)

    def save(self) -> None:
        """Write the marker file; call it last."""
        content = {**asdict(self), "schema": self.schema.to_dict()}
        del content["directory"]
        with whole(self.directory / MARKER) as file:
            file.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path | str) -> Prepared:
        """Read a finished preparation.

        Raises:
            AuditError: the folder contains no finished preparation.
        """
        directory = Path(directory)
        path = directory / MARKER
        if not path.is_file():
            raise AuditError(f"store={directory}: the prepared data are incomplete; run the load stage again")
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content.pop("schema")
        return cls(
            directory=directory,
            schema=ModelSchema.from_dict(schema),
            columns=tuple(Column(**column) for column in content.pop("columns")),
            findings=tuple(Finding(**finding) for finding in content.pop("findings")),
            **content,
        )
