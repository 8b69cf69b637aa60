"""A training job outside the audit: a plain PyTorch loop that knows nothing of Feature Audit but two file formats.

python examples/own_trainer/torch_loop.py --task task.json
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import polars as pl
import torch
from columns import Codes, Net
from torch.nn.functional import binary_cross_entropy_with_logits as log_loss

EPOCHS, BATCH, PATIENCE = 30, 256, 3


def main() -> None:
    """Train on the train file, stop by the validation file, score both other files."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--task", type=Path, required=True)
    task = json.loads(arguments.parse_args().task.read_text(encoding="utf-8"))
    torch.manual_seed(task["seed"])
    torch.set_num_threads(task["threads"] or 1)
    frames = {split: pl.read_parquet(task[split]) for split in ("train", "validation", "test")}
    codes = Codes(frames["train"].select(task["features"]))
    inputs = {split: codes(frame.select(task["features"])) for split, frame in frames.items()}
    labels = {s: torch.tensor(frames[s][task["label"]].to_numpy()).float() for s in ("train", "validation")}

    net = Net(codes.sizes)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    best, kept, waited = float("inf"), net.state_dict(), 0
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels["train"])).split(BATCH):
            optimiser.zero_grad()
            log_loss(net(inputs["train"][rows]), labels["train"][rows]).backward()
            optimiser.step()
        with torch.no_grad():
            loss = log_loss(net(inputs["validation"]), labels["validation"]).item()
        waited += 1
        if loss < best:
            best, kept, waited = loss, copy.deepcopy(net.state_dict()), 0
        if waited == PATIENCE:
            break
    net.load_state_dict(kept)

    with torch.no_grad():
        scored = [
            pl.DataFrame({"row": frames[split][task["row"]], "score": net(inputs[split]).sigmoid().numpy()})
            for split in ("validation", "test")
        ]
    pl.concat(scored).write_parquet(Path(task["output"]) / "predictions.parquet")


if __name__ == "__main__":
    main()
