"""A shipped model that can be held up, so that a test does something while it is used; worker processes import it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from feature_audit.batch import Batch
from feature_audit.models.zoo.heads import Mlp
from feature_audit.schema import ModelSchema
from torch import Tensor

#: In the working directory: a file with a glob. While both exist, the file and what the glob matches, models wait.
HOLD = Path("hold")


class Held(Mlp):
    """A perceptron; each process that it holds up makes the file ``held_<pid>``."""

    def embed(self, batch: Batch) -> Tensor:
        while _held_up():
            Path(f"held_{os.getpid()}").touch()
            time.sleep(0.05)
        return super().embed(batch)


def _held_up() -> bool:
    try:
        return any(Path().glob(HOLD.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return False


def build(schema: ModelSchema) -> Held:
    """A factory."""
    return Held(schema, embedding_dim=4, hidden=(16,))
