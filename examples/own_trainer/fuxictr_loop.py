"""FuxiCTR's own training loop as an audit's training job. Needs ``pip install "fuxictr>=2.3.10"``."""

from __future__ import annotations

import math
from collections.abc import Iterator

import polars as pl
import torch
from feature_audit.trainer import Predictions, TrainingTask
from fuxictr.features import FeatureMap
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import BaseModel
from fuxictr.pytorch.torch_utils import seed_everything
from torch import Tensor

from examples.own_trainer.columns import Codes

BATCH = 256


class Dnn(BaseModel):  # type: ignore[misc]
    """A ranking model as FuxiCTR's tutorials write it; ``fit`` and ``predict`` are FuxiCTR's."""

    def __init__(self, feature_map: FeatureMap, root: str) -> None:
        super().__init__(
            feature_map, "Dnn", verbose=0, model_root=root, metrics=["logloss"], monitor="logloss", monitor_mode="min"
        )
        self.embedding_layer = FeatureEmbedding(feature_map, feature_map.default_emb_dim)
        width = feature_map.sum_emb_out_dim()
        self.mlp = MLP_Block(width, output_dim=1, hidden_units=[32], output_activation=self.output_activation)
        self.compile("adam", "binary_crossentropy", lr=3e-3)
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Probabilities under FuxiCTR's name."""
        return {"y_pred": self.mlp(self.embedding_layer(self.get_inputs(inputs), flatten_emb=True))}


class Batches:
    """Batches of a split as FuxiCTR takes them: column -> cells."""

    def __init__(self, columns: dict[str, Tensor], *, shuffle: bool) -> None:
        self.columns, self.shuffle = columns, shuffle
        self.rows = len(next(iter(columns.values())))

    def __len__(self) -> int:
        return math.ceil(self.rows / BATCH)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        order = torch.randperm(self.rows) if self.shuffle else torch.arange(self.rows)
        for rows in order.split(BATCH):
            yield {name: cells[rows] for name, cells in self.columns.items()}


def train(task: TrainingTask) -> Predictions:
    """The function that ``trainer: examples.own_trainer.fuxictr_loop:train`` names."""
    seed_everything(task.seed)
    frames = {split: pl.read_parquet(getattr(task, split)) for split in ("train", "validation", "test")}
    codes = Codes(frames["train"].select(task.features))
    feature_map = FeatureMap("audit", data_dir=str(task.output))
    feature_map.labels, feature_map.default_emb_dim = [task.label], 4
    for name, size in zip(task.features, codes.sizes, strict=True):
        feature_map.features[name] = {"type": "categorical", "vocab_size": size, "source": ""}

    def rows(split: str, *, shuffle: bool = False) -> Batches:
        columns = dict(zip(task.features, codes(frames[split].select(task.features)).unbind(1), strict=True))
        if split != "test":
            columns[task.label] = torch.tensor(frames[split][task.label].to_numpy())
        return Batches(columns, shuffle=shuffle)

    (task.output / "audit").mkdir()  # where FuxiCTR keeps the best weights
    model = Dnn(feature_map, str(task.output))
    model.fit(rows("train", shuffle=True), epochs=30, validation_data=rows("validation"))
    return Predictions(model.predict(rows("validation")), model.predict(rows("test")))
