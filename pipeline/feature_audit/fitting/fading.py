"""The current full model while features are missing, wave by wave; only forward passes on validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from feature_audit.batch import Batch
from feature_audit.config import AuditConfig
from feature_audit.data import Store
from feature_audit.models import resolve_device, scores
from feature_audit.models.contract import rows_that_fit
from feature_audit.noninferiority import metric
from feature_audit.results import FadePoint
from feature_audit.schema import ModelSchema

#: Maximum number of validation rows scored, and of forward passes over them.
MOST_ROWS, MOST_PASSES = 50_000, 20
#: Coverage levels of a wave's features, and those used for many waves.
_FINE, _COARSE = (0.75, 0.5, 0.25, 0.0), (0.5, 0.0)


@dataclass(frozen=True)
class _Wave:
    """Positions of a wave's features in a batch, by form."""

    numeric: torch.Tensor
    code: torch.Tensor
    bag: list[int]
    vector: list[int]


def fading_curve(
    config: AuditConfig,
    store: Store,
    schema: ModelSchema,
    model: nn.Module,
    waves: Sequence[Sequence[str]],
    lost: Batch,
) -> tuple[list[FadePoint], int]:
    """The decision metric while the coverage of each wave falls; the features of earlier waves are all missing.

    A row that lacks a feature at some coverage lacks it at every lower coverage.

    Args:
        config: metric, task, seed, device.
        store: store of the encoded rows.
        schema: fields of the model.
        model: trained on these fields.
        waves: names of the features of each wave, in order of removal.
        lost: one row whose cells are all missing, encoded as in serving.

    Returns:
        Points in order, the first at full coverage; and the number of rows measured.
    """
    assert config.metric is not None
    numbered = [number for number, names in enumerate(waves, start=1) if set(names) & set(schema.names)]
    levels = _FINE if len(numbered) * len(_FINE) <= MOST_PASSES else _COARSE
    numbered = numbered[: MOST_PASSES // len(levels)]
    placed = {number: _places(schema, set(waves[number - 1])) for number in numbered}
    steps = [(0, 1.0), *((number, level) for number in numbered for level in levels)]
    chosen = np.arange(0, store.rows("validation"), -(-store.rows("validation") // MOST_ROWS))
    draws = np.random.default_rng(config.seed).random((len(waves), len(chosen)), dtype=np.float32)
    place = resolve_device(config.device)
    model.to(place).eval()
    lost = lost.to(place)
    found: list[list[np.ndarray]] = [[] for _ in steps]
    first = 0
    for batch in store.batches("validation", rows_that_fit(4096, schema), schema=schema):
        own = slice(*np.searchsorted(chosen, [first, first + len(batch)]))
        rows = batch.rows(torch.from_numpy(chosen[own] - first).to(batch.numeric.device)).to(place)
        first += len(batch)
        if not len(rows):
            continue
        for (wave, level), kept in zip(steps, found, strict=True):
            if wave:
                gone = torch.from_numpy(draws[wave - 1, own] >= level).to(place)
                rows = _without(rows, placed[wave], gone, lost)
            kept.append(schema.decision(scores(model, rows, task=schema.task, outputs=schema.outputs)))
    measure = metric(config.metric, schema.task)
    group, weights = store.group("validation"), store.weight("validation")
    y, cluster = store.target("validation")[chosen], None if group is None else group[chosen]
    weight = None if weights is None else weights[chosen]
    values = [measure.value(y, np.concatenate(parts), cluster, weight) for parts in found]
    start = measure.quality(values[0])
    return [
        FadePoint(wave, level, value, float(measure.quality(value) - start))
        for (wave, level), value in zip(steps, values, strict=True)
    ], len(chosen)


def _places(schema: ModelSchema, names: set[str]) -> _Wave:
    of_form: dict[str, list[str]] = {"numeric": [], "code": [], "bag": [], "vector": []}
    for field in schema.fields:
        of_form[field.form].append(field.name)
    at = {form: [place for place, one in enumerate(held) if one in names] for form, held in of_form.items()}
    return _Wave(torch.tensor(at["numeric"]).long(), torch.tensor(at["code"]).long(), at["bag"], at["vector"])


def _without(batch: Batch, wave: _Wave, gone: torch.Tensor, lost: Batch) -> Batch:
    """The batch without the wave's features in the rows where bool ``gone`` (B,) is true."""
    numeric, codes = batch.numeric.clone(), batch.codes.clone()
    bags, vectors = list(batch.bags), list(batch.vectors)
    for cells, empty, places in ((numeric, lost.numeric, wave.numeric), (codes, lost.codes, wave.code)):
        cells[:, places] = torch.where(gone[:, None], empty[:, places], cells[:, places])
    for parts, nothing, which in ((bags, lost.bags, wave.bag), (vectors, lost.vectors, wave.vector)):
        for at in which:
            parts[at] = torch.where(gone[:, None], nothing[at], parts[at])
    return replace(batch, numeric=numeric, codes=codes, bags=tuple(bags), vectors=tuple(vectors))
