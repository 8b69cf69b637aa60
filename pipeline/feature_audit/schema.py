"""What the columns of a log are, for people (``Column``) and for models (``Field``).

A *feature* is always one raw column: a datetime, a list or a vector is selected and dropped as a whole. Encoded,
it takes one of four forms, and a model turns each field of any form into one embedding vector:

=========  ==========================================  =======================================================
form       one cell                                    made from
=========  ==========================================  =======================================================
numeric    float32 position on the feature's knots     numbers: 0 = missing; 1 + j = exactly on knot j (a train
                                                       quantile); between two knots, linear in the raw value
code       one integer code                            categories, booleans: 0 = missing, 1 = OOV or rare
bag        ``width`` integer codes, 0 = padding        lists, sequences; the parts of a datetime
vector     ``width`` float32 values                    fixed-size vectors, standardised on train
=========  ==========================================  =======================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Kind = Literal["numeric", "categorical", "boolean", "multi", "vector", "datetime"]
Form = Literal["numeric", "code", "bag", "vector"]
Task = Literal["binary", "regression", "multiclass"]
SplitName = Literal["train", "validation", "test"]

MISSING = 0
OOV = 1


@dataclass(frozen=True)
class Column:
    """A raw column that may be a feature.

    Attributes:
        name: the raw column's name.
        kind: what its values mean, inferred or said by the user.
        dtype: the Polars dtype as text.
        group: its source table, or None.
        protected: never dropped.
        ruled_out: always dropped: the full model has it, the pruned one may not.
        cost: what keeping it costs a year, in the user's unit.
        form: how its cells are written, where their type does not say: list format or datetime format.
        bytes_per_row: what a row takes in the log, as it lies in the file; None where nothing knows it.
        plain_bytes_per_row: the same before compression.
    """

    name: str
    kind: Kind
    dtype: str
    group: str | None = None
    protected: bool = False
    cost: float = 0.0
    ruled_out: bool = False
    form: str | None = None
    bytes_per_row: float | None = None
    plain_bytes_per_row: float | None = None


@dataclass(frozen=True)
class Field:
    """An encoded feature as a model sees it.

    Attributes:
        name: the raw column's name.
        form: how a cell is stored (see the module's table).
        cardinality: for numeric, 1 + knots; for code and bag, number of codes including MISSING and OOV; vector: 0.
        width: codes of a bag or values of a vector; 1 otherwise.
        origin: for numeric, position of the knot at the train median; 0 = unknown, which means the middle knot.
    """

    name: str
    form: Form
    cardinality: int
    width: int = 1
    origin: int = 0


@dataclass(frozen=True)
class Output:
    """What a model of several targets predicts of one of them.

    Attributes:
        name: of the target, as the user wrote it.
        task: binary or regression.
        unit: what one row's loss is divided by in the common loss (see ``data.table.further.unit_of``).
    """

    name: str
    task: Task
    unit: float


@dataclass(frozen=True)
class ModelSchema:
    """The fields a model is built for, in order, and what it predicts.

    Attributes:
        fields: in order.
        task, n_classes: of the decision target.
        outputs: one for each of several targets, the decision target first; empty for a single target. With several
            targets a model returns (B, targets) logits or values; labels are (B, targets), NaN if a row has none.
    """

    fields: tuple[Field, ...]
    task: Task
    n_classes: int = 2
    outputs: tuple[Output, ...] = ()

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ModelSchema:
        """The schema whose ``to_dict()`` this is; other keys are ignored."""
        return cls(
            tuple(Field(**one) for one in content["fields"]),
            content["task"],
            content["n_classes"],
            tuple(Output(**one) for one in content.get("outputs", ())),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``outputs`` only if there are some."""
        found = {"fields": [asdict(field) for field in self.fields], "task": self.task, "n_classes": self.n_classes}
        return {**found, "outputs": [asdict(one) for one in self.outputs]} if self.outputs else found

    def decision(self, scores: Any) -> Any:
        """The decision target's part (..., rows) of scores (..., rows, targets); of one target all that there is."""
        return scores[..., 0] if self.outputs else scores

    @property
    def names(self) -> tuple[str, ...]:
        """Field names in schema order."""
        return tuple(field.name for field in self.fields)

    def keep(self, names: Iterable[str]) -> ModelSchema:
        """The schema of the kept features, in this schema's order."""
        kept = set(names)
        return replace(self, fields=tuple(field for field in self.fields if field.name in kept))
