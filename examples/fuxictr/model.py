"""A model of FuxiCTR's zoo, audited as it is. Needs ``pip install "fuxictr>=2.3.10"`` (Apache-2.0; it brings Ray).

The zoo's long-sequence models take ``(features, items, mask)``: the items are the target item's own fields, after the
fields of the user's past items. This log has no such sequence, so the only item is the target.
"""

from __future__ import annotations

import importlib
import tempfile
from typing import Any

import torch
from feature_audit.batch import Batch
from feature_audit.models import by_name
from feature_audit.schema import Field, ModelSchema
from fuxictr.features import FeatureMap
from torch import Tensor, nn


class ZooModel(nn.Module):
    """Turns a batch into the input of a FuxiCTR model, and its output into logits; the model itself is untouched."""

    def __init__(self, schema: ModelSchema, zoo: str, item_prefix: str, params: dict[str, Any]) -> None:
        super().__init__()
        self.schema = schema
        items = [name for name in schema.names if name.startswith(item_prefix)]
        self.items = frozenset(items or schema.names[-1:])  # the zoo's models need one item field at least
        feature_map = FeatureMap("audit", data_dir=tempfile.gettempdir())
        for field in schema.fields:
            feature_map.features[field.name] = _spec(field, "item" if field.name in self.items else "")
        feature_map.labels = ["label"]
        feature_map.default_emb_dim = params.setdefault("embedding_dim", 4)
        module, _, name = zoo.partition(":")
        settings = {"optimizer": "adam", "loss": "binary_crossentropy", "metrics": [], "verbose": 0, "model_root": ""}
        task = "regression" if schema.task == "regression" else "binary_classification"
        self.model = getattr(importlib.import_module(module), name)(feature_map, task=task, **settings, **params)
        self.model.output_activation = nn.Identity()  # logits: the audit brings its own loss

    def forward(self, batch: Batch) -> Tensor:
        """Logits or values, (B,)."""
        columns = by_name(batch, self.schema)
        # The knot below a number is its bucket.
        cells = {name: cell.long() if cell.ndim == 1 else cell for name, cell in columns.items()}
        features = {name: value for name, value in cells.items() if name not in self.items}
        items = {name: value for name, value in cells.items() if name in self.items}
        no_past = torch.zeros(len(batch), 0, dtype=torch.bool, device=batch.numeric.device)
        self.model.device = no_past.device  # the zoo moves its inputs to the device it was built for
        return self.model((features, items, no_past))["y_pred"][:, 0]


def build(
    schema: ModelSchema, *, zoo: str = "model_zoo.LongCTR:FinalMLP", item_prefix: str = "item_", **params: Any
) -> nn.Module:
    """The factory that ``model: examples.fuxictr.model:build`` names; further parameters go to the zoo's model."""
    return ZooModel(schema, zoo, item_prefix, params)


def _spec(field: Field, source: str) -> dict[str, Any]:
    """A field in FuxiCTR's words; numbers are bucketised, which is also what its own preprocessing offers for them."""
    if field.form in ("numeric", "code"):
        return {"type": "categorical", "vocab_size": field.cardinality, "source": source}
    if field.form == "bag":
        pooled = {"padding_idx": 0, "max_len": field.width, "feature_encoder": "layers.MaskedSumPooling()"}
        return {"type": "sequence", "vocab_size": field.cardinality, "source": source, **pooled}
    return {"type": "embedding", "pretrain_dim": field.width, "source": source}
