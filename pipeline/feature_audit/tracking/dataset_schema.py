"""The schema of a log, for display on MLflow's run page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def dataset_schema(columns: Mapping[str, str]) -> Any:
    """An MLflow schema of raw columns; lists and unsupported types become ``any``.

    Args:
        columns: name -> Polars dtype as text.
    """
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType, DataType

    kinds = {
        "Int": DataType.long, "UInt": DataType.long, "Float": DataType.double, "Decimal": DataType.double,
        "Boolean": DataType.boolean, "String": DataType.string, "Categorical": DataType.string,
        "Enum": DataType.string, "Date": DataType.datetime,
    }  # fmt: skip

    def kind(dtype: str) -> Any:
        return next((found for start, found in kinds.items() if dtype.startswith(start)), AnyType())

    return Schema([ColSpec(kind(dtype), name=name, required=False) for name, dtype in columns.items()])
