"""Converts columns of formatted numbers (``columns/written_numbers.py``) to numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import polars as pl

from feature_audit.data.columns.moments import MOST
from feature_audit.data.columns.written_numbers import Form, find_form, held_words
from feature_audit.data.messages import listing
from feature_audit.data.reading.source import Source
from feature_audit.labels import FEW_VALUES, NULL_WORDS
from feature_audit.plurals import counted
from feature_audit.schema import Column, Task

#: Number of rows from which kinds and the form of a target are detected.
PEEK_ROWS = 21_000


def as_numbers(
    source: Source, columns: Sequence[Column], shown: pl.DataFrame, given: Collection[str]
) -> tuple[Source, dict[str, Form]]:
    """The table with formatted numbers converted to Float64, and column -> form.

    Args:
        source: the table as it was read.
        columns: with their kinds.
        shown: some rows, from which the forms are detected.
        given: columns whose kind the user set; they may contain fewer numbers.

    Returns:
        The table, with notes on what was parsed and how many cells could not be, and the forms.
    """
    forms = {}
    for column in columns:
        if column.kind == "numeric" and shown[column.name].dtype in (pl.String, pl.Categorical, pl.Enum):
            form = find_form(held_words(shown[column.name]), 0.5 if column.name in given else MOST)
            if form is not None:
                forms[column.name] = form
    return _converted(source, forms, shown), forms


def target_as_numbers(source: Source, columns: Sequence[str], task: Task | None) -> Source:
    """The table with the formatted numbers of the target's columns converted to Float64.

    Text with few whole numbers (``3 stars``, ``4G``) may name classes, so it is converted only for a regression.

    Args:
        source: the table as it was read.
        columns: the columns that the targets are computed from.
        task: given, or None.
    """
    forms, cells = {}, {}
    for name in columns if task != "multiclass" else ():
        text = source.column(name)
        if text.dtype not in (pl.String, pl.Categorical, pl.Enum):
            continue
        words = held_words(text)
        form = find_form(words.sample(min(len(words), PEEK_ROWS), seed=0), MOST)
        if form is None:
            continue
        numbers = form.read(words).drop_nulls().unique()
        if task != "regression" and len(numbers) <= FEW_VALUES and (numbers == numbers.truncate()).all():
            continue
        forms[name], cells[name] = form, words.head(1)
    return _converted(source, forms, pl.DataFrame(cells))


def _converted(source: Source, forms: Mapping[str, Form], shown: pl.DataFrame) -> Source:
    """The table with the columns converted by their forms; ``shown`` has the cells for the note."""
    if not forms:
        return source
    read = {name: form.expression(pl.col(name).cast(pl.String)).alias(name) for name, form in forms.items()}
    words = {name: pl.col(name).cast(pl.String).str.strip_chars().is_in(["", *NULL_WORDS]) for name in forms}
    lost = source.collect(
        source.frame.select((pl.col(name).is_not_null() & ~words[name] & read[name].is_null()).sum() for name in forms)
    ).row(0, named=True)
    examples = []
    for name in forms:
        cells = held_words(shown[name])
        example = cells[int(cells.str.len_chars().arg_max() or 0)]
        examples.append(f"{name} ({example} is read as {forms[name].read(pl.Series([example]))[0]:.10g})")
    notes = [f"formatted numbers are parsed: {listing(examples)}"]
    notes += [
        f"{name}: {counted(count, 'cell is not a number and is', 'cells are not numbers and are')} treated as missing"
        for name, count in lost.items()
        if count
    ]
    frame = source.frame.with_columns(read.values())
    return replace(source, frame=frame, notes=(*source.notes, *notes))
