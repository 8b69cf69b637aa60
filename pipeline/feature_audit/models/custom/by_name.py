"""A batch by feature name, the input of most models outside this project."""

from __future__ import annotations

from torch import Tensor

from feature_audit.batch import Batch
from feature_audit.schema import ModelSchema


def by_name(batch: Batch, schema: ModelSchema) -> dict[str, Tensor]:
    """Feature name -> its cells, in schema order.

    Returns:
        float32 (B,) positions on knots for numeric fields, int64 (B,) for code, int64 (B, width) for bag, float32
        (B, width) for vector fields; views, not copies.
    """
    columns = {
        "numeric": iter(batch.numeric.unbind(dim=1)),
        "code": iter(batch.codes.unbind(dim=1)),
        "bag": iter(batch.bags),
        "vector": iter(batch.vectors),
    }
    return {field.name: next(columns[field.form]) for field in schema.fields}
