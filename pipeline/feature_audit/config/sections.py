"""The sections of the configuration: keys of one stage or reader, each with its type, default and meaning.

A description's first sentence is the line of ``--help``; the whole of it stands in the reference.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator


class NamedMistake(ValueError):
    """A mistake whose message already names the key and the value; a long mapping around it is not shown."""


#: No count needs more, and larger numbers break libraries with unreadable errors.
_LARGEST_COUNT = 2**31 - 1


class Section(BaseModel):
    """Keys that are checked together: none unknown, no infinities, no truth value where a number belongs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads ``yes`` and ``on`` as true, which Python takes for 1."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        kinds = {annotation, *get_args(annotation)}
        if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:
            raise ValueError("give a number, not true or false")
        return value

    @field_validator("*")
    @classmethod
    def _no_endless_count(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, int) and value > _LARGEST_COUNT and info.field_name not in ("seed", "positive"):
            raise ValueError(f"give a number of at most {_LARGEST_COUNT}")
        return value


class ReaderConfig(Section):
    """How to read text formats; Parquet, Arrow and RecBole files need none of it."""

    separator: str | None = Field(
        None, description="Field separator. null: comma for .csv, tab for .tsv and .txt.", examples=[";"]
    )
    has_header: bool = Field(True, description="Whether the first line has the column names.")
    columns: tuple[str, ...] = Field(
        (), description="Column names of a file without a header.", examples=[["user", "item"]]
    )
    null_values: tuple[str, ...] = Field(
        ("",), description="Cells with one of these texts are missing.", examples=[["", "NA", "-"]]
    )
    types: dict[str, Literal["string", "integer", "float", "boolean", "datetime"]] = Field(
        default_factory=dict,
        description="Column or glob -> string, integer, float, boolean or datetime, where inference is wrong.",
        examples=[{"zip": "string"}],
    )
    list_separator: dict[str, str] = Field(
        default_factory=dict,
        description="Column or glob -> separator of lists written as text (`a^b^c`), where inference is wrong. A "
        "glob means those of its columns whose cells contain the separator. One text is for all columns. Brackets "
        "and weights (`a:0.8`) are recognised without it.",
        examples=[{"genres": "|"}],
    )
    row_number: str | None = Field(
        None,
        description="Name of a column to add that holds the row's number. It is the time of a file in time order "
        "without timestamps.",
        examples=["row"],
    )

    @field_validator("list_separator", mode="before")
    @classmethod
    def _for_all(cls, value: Any) -> Any:
        return {"*": value} if isinstance(value, str) else value

    @field_validator("separator", "list_separator")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        if value == "" or (isinstance(value, dict) and "" in value.values()):
            raise ValueError("a separator has at least one character")
        return value


class EncodingConfig(Section):
    """How raw values become what a model embeds. Everything is fitted on the train split only."""

    max_bins: int = Field(48, ge=2, le=1024, description="Knots of a numeric feature (quantiles of the train rows).")
    min_count: int = Field(
        8, ge=1, description="Train rows that a category needs for a code of its own. Rarer ones share one code."
    )
    max_categories: int = Field(
        50_000, ge=1, description="Most frequent categories kept per feature. The rest share one code."
    )
    hash_buckets: int = Field(
        0, ge=0, description="Buckets that categories beyond max_categories share. 0: one code for all of them."
    )
    max_list_length: int = Field(
        32, ge=1, description="Entries of a list that are used. The report says how many lists are longer."
    )
    list_end: Literal["last", "first"] = Field(
        "last",
        description="End of longer lists that is used: last or first. It should be the recent end: first where the "
        "newest entries stand first.",
    )


class TrainingConfig(Section):
    """One training of a model, full or pruned."""

    embedding_dim: int = Field(4, ge=1, description="Numbers per embedded feature.")
    batch_size: int = Field(
        1024, ge=2, description="Most rows per step. Tables below 50,000 rows take smaller batches."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Step size of Adam.")
    weight_decay: float = Field(1e-5, ge=0, description="Decoupled weight decay (AdamW).")
    average_decay: float = Field(
        0.998,
        ge=0,
        lt=1,
        description="Decay of the moving average of the weights, which is what is kept. 0: no average.",
    )
    max_epochs: int = Field(
        12, ge=1, description="Most passes over the train rows. Small tables take more passes, to as many steps."
    )
    patience: int = Field(
        2,
        ge=1,
        description="Evaluations of the validation loss without a better one before stopping. Tables below 20,000 "
        "train rows take one more.",
    )


class SelectionConfig(Section):
    """Ranges and settings of the selector's training; a range of one value fixes a setting.

    Every trial draws its own temperature schedule and number of slots; the first has the middle of every range.
    """

    epochs: float = Field(1.0, gt=0, description="Passes over the train rows per concrete training.")
    temperature_start: tuple[float, float] = Field(
        (2.0, 20.0), description="Range of the temperature at the first step."
    )
    temperature_end: tuple[float, float] = Field((0.05, 0.5), description="Range of the temperature after annealing.")
    anneal_share: tuple[float, float] = Field(
        (0.5, 1.0), description="Range of the share of the steps over which the temperature falls."
    )
    max_candidates: int = Field(256, ge=1, description="The largest K where k is auto.")

    @field_validator("temperature_start", "temperature_end", "anneal_share")
    @classmethod
    def _check_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] < math.inf:
            raise ValueError("give a low and a high end, both above 0 and finite, the low one first")
        return value

    @field_validator("anneal_share")
    @classmethod
    def _check_share(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[1] > 1:
            raise ValueError("a share of the training ends at 1; give a low and a high end of at most 1")
        return value

    @model_validator(mode="after")
    def _fall(self) -> SelectionConfig:
        """Any pair that the search may draw must fall, or a trial would fail or harden nothing."""
        start, end = list(self.temperature_start), list(self.temperature_end)
        if end[1] > start[0]:
            raise NamedMistake(
                f"selection.temperature_end={end}: temperatures fall, but this reaches above "
                f"selection.temperature_start={start}; give at most {start[0]}"
            )
        return self


class ChecksConfig(Section):
    """Thresholds of the data findings."""

    leak_auc: float = Field(
        0.985, gt=0.5, le=1, description="Held-out AUC of one feature alone that makes it a leak. Leaks are excluded."
    )
    suspect_auc: float = Field(
        0.9, gt=0.5, le=1, description="Held-out AUC of one feature alone that is reported. The feature is kept."
    )
    drift_auc: float = Field(
        0.7, gt=0.5, le=1, description="Separability of train and test by one feature that is reported."
    )
    max_null_share: float = Field(
        0.999, ge=0, le=1, description="Share of missing cells above which a column is reported."
    )
