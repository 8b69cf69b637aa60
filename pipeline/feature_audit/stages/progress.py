"""Progress on a terminal; silence elsewhere, so that logs stay readable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def training_bar(label: str) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """A bar over the batches of a training; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit=" batches", leave=False, dynamic_ncols=True) as bar:

        def update(state: dict[str, Any]) -> None:
            bar.total = state["batches"] * state["epochs"]
            bar.set_postfix_str(f"epoch {state['epoch']}, loss {state['loss']:.4f}", refresh=False)
            bar.update(1)

        yield update


@contextmanager
def selection_bar(label: str) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """A bar over the steps of a selection; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit=" steps", leave=False, dynamic_ncols=True) as bar:

        def update(state: dict[str, Any]) -> None:
            bar.total = state.get("steps")
            bar.n = state.get("step", 0)
            bar.set_postfix_str(str(state["phase"]), refresh=True)

        yield update
