"""Text, names and tables as Markdown, escaped so that they are displayed literally."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_\[\]|~])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def text(value: object) -> str:
    """Any text as Markdown on one line, displayed literally."""
    line = _SPECIAL.sub(r"\\\1", " ".join(str(value).split())).translate(_ENTITIES)
    # At the start of a line these would open a heading, a list or a rule.
    return re.sub(r"^(?:([#+=-])|(\d+)([.)]))", lambda m: f"\\{m[1]}" if m[1] else f"{m[2]}\\{m[3]}", line)


def code(value: object) -> str:
    """A name as a code span, robust to back-ticks, pipes and line breaks, also inside a table cell."""
    name = re.sub(r"[\s\x00-\x1f\x7f]", " ", str(value))
    if not name.strip():
        return text("(empty name)")
    fence = "`" * (max((len(run) for run in re.findall("`+", name)), default=0) + 1)
    pad = " " if name[0] in "` " or name[-1] in "` " else ""
    # A backslash before a pipe would escape the pipe, so such names are written as escaped text.
    if "\\|" in name:
        return text(name)
    return fence + pad + name.replace("|", "\\|") + pad + fence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """A table; columns with an index in ``right`` are right-aligned."""
    numeric = set(right)
    rule = ["---:" if index in numeric else "---" for index in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *rows])
