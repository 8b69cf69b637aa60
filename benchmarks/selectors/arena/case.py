"""One table with its full net: selections start from it, and are evaluated by nets retrained on the kept features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from concrete_selectors import PathSettings, SelectionTask, Teacher, rank_with

from arena.meter import Meter
from arena.net import Net, batches, expectations, fit, loss_of, new_net
from arena.scoring import Score, floor, score, used_groups
from arena.tables import Entry, Table

#: Slots of a concrete training, relative to the largest requested K, as in the first trial of an audit.
_SLOTS = 8**0.5


@dataclass(frozen=True)
class Outcome:
    """Test metric, test loss and validation loss of retrained nets."""

    metric: float
    loss: float
    validation_loss: float


class Case:
    """A table, its full net, and a cache of retrained nets.

    Args:
        name: name of the table.
        entry: how it is built and evaluated.
        rows: maximum number of rows of the table; None = all.
        retrains: nets per kept set, seeds 1, 2, ...; more if the entry requires it.

    Attributes:
        table, model: the data and the full net (seed 0).
        ks: requested K.
        full: test score of the full net; ``spent`` is the cost of its training.
    """

    def __init__(self, name: str, entry: Entry, *, rows: int | None, retrains: int) -> None:
        self.name, self.entry, self.retrains = name, entry, retrains * entry.repeats
        self.table: Table = entry.build(rows)
        self.fields = np.arange(self.table.n_fields)
        self.ks = tuple(k for k in entry.ks if k <= self.table.n_fields)
        with Meter() as meter:
            self.model, _, self.epochs = self.fit(self.fields, seed=0)
        self.spent = meter.spent
        self.full: Score = score(self.table, self.model, self.fields)
        self.steps_per_epoch = math.ceil(len(self.table.y_train) / entry.batch)
        self._known: dict[tuple[int, ...], Outcome] = {}

    def facts(self) -> dict[str, Any]:
        """Facts about the table and its full net, for the records."""
        return {
            "rows": len(self.table.y_train) + len(self.table.y_valid) + len(self.table.y_test),
            "fields": self.table.n_fields,
            "classes": self.table.classes,
            "ks": list(self.ks),
            "full": self.full.metric,
            "full_loss": self.full.loss,
            "floor": floor(self.table),
            "seconds": self.spent.seconds,
            "used_groups": used_groups(self.table, self.model),
        }

    def fit(self, features: np.ndarray, *, seed: int) -> tuple[Net, float, int]:
        """A net of the given fields from scratch."""
        entry = self.entry
        return fit(self.table, features, seed=seed, size=entry.batch, max_epochs=entry.epochs, patience=entry.patience)

    def fresh_net(self, seed: int) -> Net:
        """An untrained net of all fields."""
        return new_net(self.table, self.fields, seed=seed)

    def retrained(self, kept: np.ndarray) -> Outcome:
        """Outcome of nets retrained on the kept fields, means over seeds."""
        found = [self.retrained_once(kept, seed=1 + number) for number in range(self.retrains)]
        return Outcome(*np.mean([(o.metric, o.loss, o.validation_loss) for o in found], axis=0).tolist())

    def retrained_once(self, kept: np.ndarray, *, seed: int) -> Outcome:
        """Outcome of one net retrained on the kept fields."""
        key = (seed, *kept.tolist())
        if key not in self._known:
            model, validation_loss, _ = self.fit(kept, seed=seed)
            tested = score(self.table, model, kept)
            self._known[key] = Outcome(tested.metric, tested.loss, validation_loss)
        return self._known[key]

    def settings(self, *, seed: int, **changes: Any) -> PathSettings:
        """The library's defaults, with slots for the largest K; ``epoch_share`` makes a training longer or shorter."""
        default = PathSettings(k_max=min(self.table.n_fields, math.ceil(_SLOTS * max(self.ks))), seed=seed)
        share = changes.pop("epoch_share", 1.0)
        length = {"epochs": default.epochs * share, "fewest_steps": max(1, round(default.fewest_steps * share))}
        return replace(default, **(length | changes))

    def loaders(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Train and validation batches in the form that selectors expect."""
        table, size = self.table, self.entry.batch
        return (
            batches(table.x_train, table.y_train, size=size, shuffle=True),
            batches(table.x_valid, table.y_valid, size=size, shuffle=False),
        )

    def select(self, selector: str, settings: PathSettings) -> Callable[[int], np.ndarray]:
        """Run a selector of the library; the result maps a K to the sorted kept set.

        Raises:
            ValueError: unknown selector.
        """
        return rank_with(selector, self.task(), settings, matrix=self.table.matrix).subset

    def task(self, **changes: Any) -> SelectionTask:
        """The selection task of the full net, or with other values."""
        train, validation = self.loaders()
        given = SelectionTask(
            self.model, train, validation, loss_of(self.table), self.steps_per_epoch,
            teacher=Teacher(self.model, expectations),
        )  # fmt: skip
        return replace(given, **changes)
