"""Scores and losses of a trained model on one split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from concrete_selectors.row_weights import weighted
from numpy.typing import NDArray
from torch import nn

from feature_audit.batch import Batch
from feature_audit.models.contract import TrainingStore, resolve_device, rows_that_fit
from feature_audit.models.loss import row_loss, to_scores
from feature_audit.models.ranks import Ranks
from feature_audit.schema import ModelSchema, Output, SplitName, Task

#: Cost of a forward pass relative to a forward and backward pass.
FORWARD_SHARE = 1 / 3


@torch.inference_mode()
def predict(
    model: nn.Module,
    store: TrainingStore,
    split: SplitName,
    schema: ModelSchema,
    *,
    task: Task,
    device: str = "auto",
    batch_size: int = 4096,
) -> NDArray[np.float32]:
    """Scores of a split's rows, in the store's order.

    Returns:
        float32 (rows,) probability of class 1 (binary) or value in target units (regression); (rows, C) probabilities
        (multiclass); (rows, targets) for several targets.
    """
    place = resolve_device(device)
    model.to(place).eval()
    batches = store.batches(split, rows_that_fit(batch_size, schema), seed=None, schema=schema)
    return np.concatenate([to_scores(model(batch.to(place)), task, schema.outputs).cpu().numpy() for batch in batches])


@torch.inference_mode()
def scores(model: nn.Module, batch: Batch, *, task: Task, outputs: Sequence[Output] = ()) -> NDArray[np.float32]:
    """Scores of one batch, on the device of model and batch; shapes as in ``predict``.

    Args:
        model, batch: on the same device.
        task, outputs: as in the model's schema.
    """
    if model.training:  # setting it takes as long as scoring one row
        model.eval()
    return to_scores(model(batch), task, outputs).cpu().numpy()


@torch.inference_mode()
def mean_loss(
    model: nn.Module,
    store: TrainingStore,
    split: SplitName,
    schema: ModelSchema,
    *,
    task: Task,
    device: str,
    batch_size: int = 4096,
    ranks: Ranks | None = None,
) -> float:
    """Mean training loss of a split's rows, weighted if they have weights, in nats or squared target units.

    With ``ranks`` each rank computes a part, and all return the same number.
    """
    place = resolve_device(device)
    model.to(place).eval()
    loss = row_loss(task, schema.outputs)
    total, rows = 0.0, 0.0
    for batch in store.batches(split, rows_that_fit(batch_size, schema), seed=None, schema=schema):
        here = (ranks.part(batch) if ranks else batch).to(place)
        if not len(here):
            continue
        total += weighted(loss(model(here), here.target), here.weight).double().sum().item()
        rows += len(here) if here.weight is None else here.weight.double().sum().item()
    if ranks:
        total, rows = ranks.total(total, rows)
    return total / rows if rows else 0.0
