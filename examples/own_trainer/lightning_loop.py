"""A Lightning trainer as an audit's training job. Needs ``pip install lightning``."""

from __future__ import annotations

import lightning
import polars as pl
import torch
from feature_audit.trainer import Predictions, TrainingTask
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as log_loss
from torch.utils.data import DataLoader, TensorDataset

from examples.own_trainer.columns import Codes, Net


class Ranker(lightning.LightningModule):
    """The network, its loss and its optimiser."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.net = Net(sizes)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Loss of a batch."""
        return log_loss(self.net(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        """Log the loss that stops the training."""
        self.log("loss", log_loss(self.net(batch[0]), batch[1]))

    def predict_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Probabilities."""
        return self.net(batch[0]).sigmoid()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def train(task: TrainingTask) -> Predictions:
    """The function that ``trainer: examples.own_trainer.lightning_loop:train`` names."""
    lightning.seed_everything(task.seed, verbose=False)
    frames = {split: pl.read_parquet(getattr(task, split)) for split in ("train", "validation", "test")}
    codes = Codes(frames["train"].select(task.features))

    def rows(split: str, *, shuffle: bool = False) -> DataLoader[tuple[Tensor, ...]]:
        tensors = [codes(frames[split].select(task.features))]
        if split != "test":
            tensors.append(torch.tensor(frames[split][task.label].to_numpy()).float())
        return DataLoader(TensorDataset(*tensors), batch_size=256, shuffle=shuffle)

    best = ModelCheckpoint(task.output, monitor="loss")
    trainer = lightning.Trainer(
        max_epochs=30, callbacks=[EarlyStopping("loss"), best], default_root_dir=task.output, logger=False,
        accelerator="cpu" if task.device == "cpu" else "auto", devices=1, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    ranker = Ranker(codes.sizes)
    trainer.fit(ranker, rows("train", shuffle=True), rows("validation"))
    ranker.load_state_dict(torch.load(best.best_model_path, weights_only=True)["state_dict"])
    return Predictions(*(torch.cat(trainer.predict(ranker, rows(split))) for split in ("validation", "test")))
