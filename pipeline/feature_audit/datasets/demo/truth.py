"""What is true about every column of the demo log, and how well a selection agrees with it."""

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
        role: ``signal`` shows exactly what drives the label, ``copy`` the same with noise, ``duplicate`` repeats
            another column cell by cell, ``key`` names the entity (a proxy for all it is), the others speak for
            themselves.
        group: signal group of a signal, copy or duplicate of either; None where the column carries none.
        of: the column a duplicate repeats.
    """

    role: Role
    group: str | None = None
    of: str | None = None


@dataclass(frozen=True)
class Truth:
    """The whole log."""

    columns: dict[str, ColumnTruth]
    seed: int
    bayes_auc: float
    version: str

    def names(self, *roles: Role) -> list[str]:
        """Columns of the given roles, in column order."""
        return [name for name, column in self.columns.items() if column.role in roles]

    @property
    def groups(self) -> list[str]:
        """All signal groups."""
        return sorted({column.group for column in self.columns.values() if column.role == "signal" and column.group})

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Truth:
        """From JSON."""
        content = json.loads(path.read_text(encoding="utf-8"))
        columns = {name: ColumnTruth(**column) for name, column in content.pop("columns").items()}
        return cls(columns=columns, **content)


@dataclass(frozen=True)
class Grade:
    """How a selection compares with the truth.

    Attributes:
        kept: columns in the selection.
        groups: signal groups there are.
        covered: groups of which the exact column (or a duplicate of it) is kept.
        covered_by_copy: groups of which only noisy copies are kept.
        missed: groups of which nothing is kept.
        surplus_copies: kept copies and duplicates of groups that are covered exactly, and further ones of the others.
        noise: kept columns without any signal.
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
        """One line for people."""
        return (
            f"{self.kept} kept: {len(self.covered)} of {self.groups} signals exactly, {len(self.covered_by_copy)} by "
            f"a copy, {len(self.missed)} missed; {len(self.surplus_copies)} surplus copies, {len(self.noise)} noise, "
            f"{len(self.leaks)} leaks"
        )


def grade(kept: Iterable[str], truth: Truth) -> Grade:
    """Grade a selection.

    Raises:
        KeyError: a kept name is no column of the log.
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
