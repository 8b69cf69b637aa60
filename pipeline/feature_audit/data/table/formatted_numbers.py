"""Converts columns of formatted numbers (``columns/written_numbers.py``) to numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import polars as pl

from feature_audit.data.columns.casting import NULL_WORDS
from feature_audit.data.columns.moments import MOST
from feature_audit.data.columns.written_numbers import Form, find_form, held_words
from feature_audit.data.messages import listing
from feature_audit.data.reading.source import Source
from feature_audit.plurals import counted
from feature_audit.schema import Column


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
    if not forms:
        return source, forms
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
    return replace(source, frame=frame, notes=(*source.notes, *notes)), forms
