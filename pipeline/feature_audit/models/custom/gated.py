"""The fields that an audit will gate, as a short table by kind and width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Most characters of a line's names.
_NAMES = 60


@dataclass(frozen=True)
class GatedField:
    """A field with one gate: its column, the length of its embedding, the kind of its values."""

    name: str
    width: int
    kind: str


def gated_table(fields: Sequence[GatedField]) -> list[str]:
    """Lines of text: one for all fields of a kind and width, widest first."""
    alike: dict[tuple[int, str], list[str]] = {}
    for field in fields:
        alike.setdefault((field.width, field.kind), []).append(field.name)
    total = sum(field.width for field in fields)
    lines = [f"gated: {len(fields):,} features, {total:,} numbers a row", "  width  kind         features"]
    for (width, kind), names in sorted(alike.items(), key=lambda item: (-item[0][0], item[0][1])):
        lines.append(f"  {width:>5}  {kind:<11}  {_listed(names)}")
    return lines


def _listed(names: list[str]) -> str:
    """As many names as fit on a line, and the number of the others."""
    shown = names[:1]
    for name in names[1:]:
        if len(", ".join([*shown, name])) > _NAMES:
            break
        shown.append(name)
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
