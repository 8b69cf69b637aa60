"""The true role of every column of the demo log, and the grade of a selection by it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Role = Literal["signal", "copy", "noise", "constant", "duplicate", "leak", "key"]


@dataclass(frozen=True)
class ColumnTruth:
    """One column.

    Attributes:
        role: ``signal``: exactly a quantity that influences the label; ``copy``: the same with noise; ``duplicate``:
            equal to another column in every cell; ``key``: id of an entity, a proxy for all its attributes; ``leak``:
            known only after the label; ``noise`` and ``constant`` carry no information.
        group: signal group of a signal, a copy, or a duplicate of either; None for other columns.
        of: the column that a duplicate is equal to.
    """

    role: Role
    group: str | None = None
    of: str | None = None


@dataclass(frozen=True)
class Truth:
    """All columns of the log.

    Attributes:
        columns: feature -> its role, in column order.
        seed: seed of the generator.
        bayes_auc: AUC of the true click probabilities, the best that any model can reach.
        version: version of the generator.
    """

    columns: dict[str, ColumnTruth]
    seed: int
    bayes_auc: float
    version: str

    def names(self, *roles: Role) -> list[str]:
        """Columns that have one of the roles, in column order."""
        return [name for name, column in self.columns.items() if column.role in roles]

    @property
    def groups(self) -> list[str]:
        """All signal groups."""
        return sorted({column.group for column in self.columns.values() if column.role == "signal" and column.group})

    def write(self, path: Path) -> None:
        """Write the file as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Truth:
        """Read a file written by ``write``."""
        content = json.loads(path.read_text(encoding="utf-8"))
        columns = {name: ColumnTruth(**column) for name, column in content.pop("columns").items()}
        return cls(columns=columns, **content)


@dataclass(frozen=True)
class Grade:
    """Comparison of a selection with the truth.

    Attributes:
        kept: number of columns in the selection.
        groups: number of signal groups in the log.
        covered: groups whose exact column, or a duplicate of it, is kept.
        covered_by_copy: groups of which only noisy copies are kept.
        missed: groups without a kept column.
        surplus_copies: kept columns that are redundant: beyond the exact column of a group, or beyond its first copy.
        noise: kept columns without signal.
        constants: kept constants.
        leaks: kept leaks.
        keys: kept entity keys.
    """

    kept: int
    groups: int
    covered: tuple[str, ...]
    covered_by_copy: tuple[str, ...]
    missed: tuple[str, ...]
    surplus_copies: tuple[str, ...]
    noise: tuple[str, ...]
    constants: tuple[str, ...]
    leaks: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The grade in one sentence."""
        return (
            f"{self.kept} kept: {len(self.covered)} of {self.groups} signals exactly, {len(self.covered_by_copy)} by "
            f"a copy, {len(self.missed)} missed; {len(self.surplus_copies)} surplus copies, {len(self.noise)} noise, "
            f"{len(self.leaks)} leaks"
        )


def grade(kept: Iterable[str], truth: Truth) -> Grade:
    """Grade a selection.

    Args:
        kept: names of the kept columns; duplicates count once.
        truth: of the log that they were selected from.

    Raises:
        KeyError: a kept name is not a column of the log.
    """
    names = list(dict.fromkeys(kept))
    exact: dict[str, list[str]] = {}
    copies: dict[str, list[str]] = {}
    plain: dict[str, list[str]] = {"noise": [], "constant": [], "leak": [], "key": []}
    for name in names:
        column = truth.columns[name]
        origin = truth.columns[column.of] if column.of else column
        if origin.group is None:
            plain["noise" if origin.role == "duplicate" else origin.role].append(name)
        else:
            (exact if origin.role == "signal" else copies).setdefault(origin.group, []).append(name)
    surplus = [name for found in exact.values() for name in found[1:]]
    for group, found in copies.items():
        surplus += found if group in exact else found[1:]
    groups = truth.groups
    return Grade(
        kept=len(names),
        groups=len(groups),
        covered=tuple(group for group in groups if group in exact),
        covered_by_copy=tuple(group for group in groups if group in copies and group not in exact),
        missed=tuple(group for group in groups if group not in exact and group not in copies),
        surplus_copies=tuple(surplus),
        noise=tuple(plain["noise"]),
        constants=tuple(plain["constant"]),
        leaks=tuple(plain["leak"]),
        keys=tuple(plain["key"]),
    )
