"""The sections of the configuration: the keys of one stage or reader, each with its type, default and meaning.

The first sentence of a description appears in ``--help``, the full text in the reference.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator


class NamedMistake(ValueError):
    """A mistake whose message already names the key and the value, so that a long enclosing mapping is not shown."""


#: No count needs to be larger; larger numbers cause unreadable errors in libraries.
_LARGEST_COUNT = 2**31 - 1


class Section(BaseModel):
    """Keys that are validated together. Unknown keys, infinities and booleans in place of numbers are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads ``yes`` and ``on`` as true, which Python treats as 1."""
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
    """How to read text formats. Parquet, Arrow and RecBole files do not need these keys."""

    separator: str | None = Field(
        None, description="Field separator. null: comma for .csv, tab for .tsv and .txt.", examples=[";"]
    )
    has_header: bool = Field(True, description="Whether the first line contains the column names.")
    columns: tuple[str, ...] = Field(
        (), description="Column names of a file without a header.", examples=[["user", "item"]]
    )
    null_values: tuple[str, ...] = Field(
        ("",), description="Strings that mark a missing value.", examples=[["", "NA", "-"]]
    )
    types: dict[str, Literal["string", "integer", "float", "boolean", "datetime"]] = Field(
        default_factory=dict,
        description="Column or glob -> type, to correct the inferred one. Types: string, integer, float, boolean, "
        "datetime.",
        examples=[{"zip": "string"}],
    )
    list_separator: dict[str, str] = Field(
        default_factory=dict,
        description="Column or glob -> separator of lists in text (`a^b^c`). Corrects the inferred separator. A glob "
        "applies to those of its columns whose cells contain the separator. A single string applies to all columns. "
        "Brackets and weights (`a:0.8`) are recognised automatically.",
        examples=[{"genres": "|"}],
    )
    row_number: str | None = Field(
        None,
        description="Name of a column to add, which holds the row number. Use it as `time` for a file that is sorted "
        "by time but has no timestamps.",
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
            raise ValueError("give a separator of at least one character")
        return value


class EncodingConfig(Section):
    """How raw values are encoded for the model. All encodings are fitted on the train split only."""

    max_bins: int = Field(48, ge=2, le=1024, description="Knots of a numeric feature (quantiles of the train rows).")
    min_count: int = Field(
        8,
        ge=1,
        description="Minimum number of train rows for a category to get its own code. Rarer ones share one code.",
    )
    max_categories: int = Field(
        50_000, ge=1, description="Number of most frequent categories kept per feature. The rest share one code."
    )
    hash_buckets: int = Field(
        0,
        ge=0,
        description="Number of hash buckets for categories beyond max_categories. 0: one shared code for all of them.",
    )
    max_list_length: int = Field(
        32, ge=1, description="Number of entries of a list that are used. The report says how many lists are longer."
    )
    list_end: Literal["last", "first"] = Field(
        "last",
        description="End of a longer list that is used: last or first. Choose the end with the most recent entries: "
        "first if lists start with the newest entry.",
    )


class TrainingConfig(Section):
    """How one model is trained, full or pruned."""

    embedding_dim: int = Field(4, ge=1, description="Embedding dimension per feature.")
    batch_size: int = Field(
        1024, ge=2, description="Maximum number of rows per step. Tables below 50,000 rows use smaller batches."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of Adam.")
    weight_decay: float = Field(1e-5, ge=0, description="Decoupled weight decay (AdamW).")
    average_decay: float = Field(
        0.998,
        ge=0,
        lt=1,
        description="Decay of the exponential moving average of the weights. The average is the final model. 0: no "
        "averaging.",
    )
    max_epochs: int = Field(
        12,
        ge=1,
        description="Maximum number of epochs. Small tables get more epochs, to reach a similar number of steps.",
    )
    patience: int = Field(
        2,
        ge=1,
        description="Evaluations without an improvement of the validation loss before training stops. Tables below "
        "20,000 train rows get one more.",
    )


class SelectionConfig(Section):
    """Ranges and settings of the selector's training; a range of two equal numbers fixes a setting.

    Every trial draws its own temperature schedule and number of slots; the first uses the middle of every range.
    """

    epochs: float = Field(1.0, gt=0, description="Epochs per concrete training.")
    temperature_start: tuple[float, float] = Field(
        (2.0, 20.0), description="Range of the temperature at the first step."
    )
    temperature_end: tuple[float, float] = Field((0.05, 0.5), description="Range of the temperature after annealing.")
    anneal_share: tuple[float, float] = Field(
        (0.5, 1.0), description="Range of the share of the steps over which the temperature falls."
    )
    max_candidates: int = Field(256, ge=1, description="Largest K that is considered if k is auto.")

    @field_validator("temperature_start", "temperature_end", "anneal_share")
    @classmethod
    def _check_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] < math.inf:
            raise ValueError("give a lower and an upper end, both above 0 and finite, the lower one first")
        return value

    @field_validator("anneal_share")
    @classmethod
    def _check_share(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[1] > 1:
            raise ValueError("give a lower and an upper end of at most 1, as shares of the training")
        return value

    @model_validator(mode="after")
    def _fall(self) -> SelectionConfig:
        """Every pair that the search may draw must decrease; otherwise a trial would fail or never anneal."""
        start, end = list(self.temperature_start), list(self.temperature_end)
        if end[1] > start[0]:
            raise NamedMistake(
                f"selection.temperature_end={end}: reaches above selection.temperature_start={start}, but the "
                f"temperature must fall; give at most {start[0]}"
            )
        return self


class ChecksConfig(Section):
    """Thresholds of the data checks."""

    leak_auc: float = Field(
        0.985,
        gt=0.5,
        le=1,
        description="Held-out AUC of a single feature from which it counts as a leak. Leaks are excluded.",
    )
    suspect_auc: float = Field(
        0.9,
        gt=0.5,
        le=1,
        description="Held-out AUC of a single feature from which it is reported. The feature is kept.",
    )
    drift_auc: float = Field(
        0.7,
        gt=0.5,
        le=1,
        description="AUC of one feature separating train from test rows that is reported as drift.",
    )
    max_null_share: float = Field(
        0.999, ge=0, le=1, description="Share of missing cells above which a column is reported."
    )
