"""One contender in a separate process: read and encode a log, train one epoch, report the costs as a line of JSON.

    python benchmarks/loader/contenders.py NAME LOG.parquet WORK

All of them read the same file, encode every row, and train on its first 68 % (the train share of an audit's time
split) in shuffled batches of 1,024 with Adam at 1e-3 and one torch thread.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

BATCH, RATE, TRAIN_SHARE = 1_024, 1e-3, 0.68


class Clock:
    """Wall and CPU seconds of named parts."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[float, float]] = {}
        self._last = self._now()

    def lap(self, name: str) -> None:
        """Record the part that ends now."""
        now = self._now()
        self.parts[name] = (now[0] - self._last[0], now[1] - self._last[1])
        self._last = now

    @staticmethod
    def _now() -> tuple[float, float]:
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in usage)


def exhaust(batches: Iterable[Any]) -> None:
    """One more pass over the batches, without training."""
    for _ in batches:
        pass


def ours(log: Path, work: Path, clock: Clock, *, checks: bool) -> int:
    """The load stage's store and its trainer; with ``checks``, everything that the load stage does."""
    import torch
    from feature_audit.config import AuditConfig
    from feature_audit.config.sections import TrainingConfig
    from feature_audit.data import Store, prepare
    from feature_audit.models import train
    from model import Plain
    from store import encode_only

    clock.lap("imports")
    config = AuditConfig(data=str(log), target="clicked", time="time", group="user")
    if checks:
        prepare(config, work)
    else:
        encode_only(config, work)
    clock.lap("read and encode")
    store = Store.open(work)
    schema = store.schema

    class OnBatch(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            numeric = [field for field in schema.fields if field.form == "numeric"]
            self.plain = Plain(len(numeric), [field.cardinality for field in schema.fields if field.form == "code"])
            self.scale = max(field.cardinality for field in numeric)

        def forward(self, batch: Any) -> torch.Tensor:
            return self.plain(batch.numeric / self.scale, batch.codes)

    settings = TrainingConfig(batch_size=BATCH, max_epochs=1, learning_rate=RATE)
    result = train(OnBatch(), store, schema, config=settings, task="binary", seed=0, device="cpu")
    clock.lap("epoch")
    exhaust(store.batches("train", BATCH, seed=1, schema=schema))
    clock.lap("batches only")
    return result.examples


def dataloader(log: Path, work: Path, clock: Clock) -> int:
    """A pandas frame, encoded column by column, in a torch ``DataLoader``: the usual first implementation."""
    import numpy as np
    import pandas as pd
    import torch
    from generate import names
    from model import Plain
    from torch.utils.data import DataLoader, Dataset

    clock.lap("imports")
    numeric_names, word_names = names()
    frame = pd.read_parquet(log)
    train_rows = int(len(frame) * TRAIN_SHARE)
    numeric = frame[numeric_names].astype(np.float32)
    seen = numeric.iloc[:train_rows]
    numeric = ((numeric - seen.mean()) / seen.std()).fillna(0.0).to_numpy(np.float32)
    codes, sizes = [], []
    for name in word_names:
        counts = frame[name].iloc[:train_rows].value_counts()
        known = {value: code + 2 for code, value in enumerate(counts.index[counts >= 8])}
        codes.append(frame[name].map(known).fillna(1).to_numpy(np.int64))
        sizes.append(len(known) + 2)
    encoded = np.stack(codes, axis=1)
    target = frame["clicked"].to_numpy(np.float32)
    del frame
    clock.lap("read and encode")

    class Rows(Dataset[Any]):
        def __len__(self) -> int:
            return train_rows

        def __getitem__(self, row: int) -> tuple[Any, Any, Any]:
            return numeric[row], encoded[row], target[row]

    model = Plain(len(numeric_names), sizes)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    batches = DataLoader(Rows(), batch_size=BATCH, shuffle=True)
    for x, c, y in batches:
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(x, c), y).backward()
        optimiser.step()
    clock.lap("epoch")
    exhaust(batches)
    clock.lap("batches only")
    return train_rows


def fuxictr(log: Path, work: Path, clock: Clock) -> int:
    """FuxiCTR's feature processor, Parquet loader (Ray) and training step, with a DNN of its layers."""
    import polars as pl
    from fuxictr.features import FeatureMap
    from fuxictr.preprocess import FeatureProcessor, build_dataset
    from fuxictr.pytorch.dataloaders import RankDataLoader
    from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
    from fuxictr.pytorch.models import BaseModel
    from generate import names
    from model import DIM, HIDDEN

    numeric_names, word_names = names()
    rows = pl.scan_parquet(log).select(pl.len()).collect().item()
    train_rows = int(rows * TRAIN_SHARE)
    # It expects a file per split; the time to split the file is not counted.
    parts = {name: work / f"{name}.parquet" for name in ("given_train", "given_valid")}
    pl.scan_parquet(log).head(train_rows).sink_parquet(parts["given_train"])
    pl.scan_parquet(log).slice(train_rows).sink_parquet(parts["given_valid"])
    clock.lap("imports and split")
    columns = [{"name": numeric_names, "active": True, "dtype": "float", "type": "numeric",
                "normalizer": "StandardScaler", "fill_na": 0.0}]  # fmt: skip
    columns += [{"name": word_names, "active": True, "dtype": "str", "type": "categorical"}]
    label = {"name": "clicked", "dtype": "float"}
    processor = FeatureProcessor(feature_cols=columns, label_col=label, dataset_id="log", data_root=f"{work}/")
    train_data, valid_data, _ = build_dataset(
        processor, train_data=str(parts["given_train"]), valid_data=str(parts["given_valid"]),
        data_format="parquet", min_categr_count=8,
    )  # fmt: skip
    clock.lap("read and encode")

    feature_map: Any = FeatureMap("log", f"{work}/log")
    feature_map.load(f"{work}/log/feature_map.json", {"embedding_dim": DIM})

    class DNN(BaseModel):
        def __init__(self) -> None:
            super().__init__(feature_map, metrics=[], verbose=0, model_root=str(work))
            self.embedding = FeatureEmbedding(feature_map, DIM)
            self.mlp = MLP_Block(feature_map.sum_emb_out_dim(), list(HIDDEN), output_dim=1)
            self.compile("adam", "binary_crossentropy", RATE)

        def forward(self, inputs: Any) -> dict[str, Any]:
            embedded = self.embedding(self.get_inputs(inputs), flatten_emb=True)
            return {"y_pred": self.output_activation(self.mlp(embedded))}

    model = DNN()
    model._max_gradient_norm = 10.0
    batches, _ = RankDataLoader(
        feature_map, stage="train", train_data=train_data, valid_data=valid_data, batch_size=BATCH, shuffle=True,
        data_format="parquet",
    )  # fmt: skip
    model.train()
    for batch in batches:
        model.train_step(batch)
    clock.lap("epoch")
    exhaust(batches)
    clock.lap("batches only")
    return train_rows


CONTENDERS: dict[str, Callable[[Path, Path, Clock], int]] = {
    "ours": lambda log, work, clock: ours(log, work, clock, checks=False),
    "ours_checked": lambda log, work, clock: ours(log, work, clock, checks=True),
    "dataloader": dataloader,
    "fuxictr": fuxictr,
}


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("log", type=Path)
    parser.add_argument("work", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.work.mkdir(parents=True, exist_ok=True)
    clock = Clock()
    trained = CONTENDERS[given.name](given.log, given.work, clock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"parts": clock.parts, "trained": trained, "peak_mib": peak}))


if __name__ == "__main__":
    main()
