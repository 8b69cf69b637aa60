"""Keys that say what the log is, which column is what, and how its rows are split.

A description's first sentence is the line of ``--help``; the whole of it stands in the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from feature_audit.config.sections import NamedMistake, Section
from feature_audit.errors import UsageError
from feature_audit.question import read_slices
from feature_audit.schema import Task

KindName = Literal["numeric", "categorical", "boolean", "multi", "vector", "datetime"]


def comma_separated(value: Any) -> Any:
    """``a, b`` as a list; anything else as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class LogKeys(Section):
    """The log and its columns"""

    data: str = Field(
        "demo",
        description="The log: demo, or a path, glob or URI. Formats: Parquet, CSV / TSV (also .gz), JSON lines, "
        "Arrow IPC, a folder partitioned hive-style, or a RecBole .inter file with its .user and .item files next "
        "to it. `demo` is a simulated log (conf/demo.yaml).",
        examples=["/logs/clicks/*.parquet", "s3://logs/clicks/"],
    )
    target: str | None = Field(
        None,
        description="Label: a column, or an expression such as `rating >= 4`. Its columns are never features.",
        examples=["clicked", "rating >= 4"],
    )
    task: Task | None = Field(
        None,
        description="binary, regression or multiclass. null: inferred from the label's values.",
        examples=["binary"],
    )
    positive: str | int | float | bool | None = Field(
        None,
        description="Value of a binary label that is the positive class. null: the larger of two numbers; of two "
        "words the one that is known (click, yes, ...) or whose opposite is (skip, no, no click, ...), otherwise "
        "the rarer one, which the log then says.",
        examples=["yes"],
    )
    row_id: str | None = Field(
        None, description="Column that identifies a row. It is never a feature.", examples=["impression_id"]
    )
    time: str | None = Field(
        None,
        description="Time column: the latest rows become the test split. It is never a feature.",
        examples=["ts"],
    )
    group: str | None = Field(
        None,
        description="Unit of resampling and of GAUC, usually the user. null: each row is a unit of its own. It is a "
        "feature only with `group_is_feature`.",
        examples=["user_id"],
    )
    group_is_feature: bool = Field(
        False,
        description="Give the full model an embedding of the group. The group is then a category that the pruned "
        "model may drop like any other feature.",
    )
    weight: str | None = Field(
        None,
        description="Column with the number of rows that a row stands for. It counts in training, selection and "
        "every metric: 10 for a negative of which one in ten was kept. Numbers of 0 or more, 0 leaves the row out; "
        "it is never a feature. A row with a large weight is still one observation, so unequal weights widen the "
        "intervals.",
        examples=["row_weight"],
    )
    negative_sampling: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the negatives that the log has, such as 0.1. Short form of `weight` for a binary "
        "label: each negative counts 1 / share rows. null: the log has all of them.",
        examples=[0.1],
    )
    exclude: tuple[str, ...] = Field(
        (),
        description="Columns or globs that are no features, not even of the full model. A list, or comma-separated.",
        examples=[["session_id", "debug_*"]],
    )
    never_drop: tuple[str, ...] = Field(
        (),
        description="Features or globs that must be kept. For legal, safety or position features, for example.",
        examples=[["position", "age_*"]],
    )
    always_drop: tuple[str, ...] = Field(
        (),
        description="Features or globs that must go, whatever they are worth. For licences, privacy or a source "
        "that is shut down. The full model still has them, as production has today, so the verdict counts their "
        "loss. A member of a whole group takes its group along. Use `exclude` for columns that not even the full "
        "model should see.",
        examples=[["gender", "partner_*"]],
    )
    drop_rows: tuple[Literal["no_time", "no_label", "no_group"], ...] = Field(
        (),
        description="Rows to leave out and count: no_time, no_label, no_group. Rows without a time are left out "
        "without being asked where they are under 1 %; otherwise the audit stops and asks.",
        examples=[["no_label", "no_group"]],
    )
    kinds: dict[str, KindName] = Field(
        default_factory=dict,
        description="Column or glob -> kind, where inference is wrong. Kinds: numeric, categorical, boolean, multi, "
        "vector, datetime.",
        examples=[{"age": "numeric", "*_id": "categorical"}],
    )
    groups: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Source table -> its columns or globs. A table is saved when its last feature is dropped. A "
        "column belongs to one table.",
        examples=[{"user_profile": ["age", "user_*"]}],
    )
    whole_groups: tuple[str, ...] = Field(
        (),
        description="Groups that are kept or dropped as a whole. `*` means every group.",
        examples=[["*"]],
    )
    cost: dict[str, float] | str = Field(
        default_factory=dict,
        description="Column, glob or source table -> yearly cost of keeping it, in any one unit. Or the path of a "
        "CSV file with the columns feature (column or glob) and / or table, and cost. A table's own cost is saved "
        "when its last feature is dropped. Expensive features start with a handicap in the search, and the report "
        "says what is saved.",
        examples=[{"emb_*": 120.0, "user_profile": 4000.0}, "costs.csv"],
    )
    consumers: str | None = Field(
        None,
        description="File that says which other models read which features. YAML, JSON or CSV of consumer -> "
        "features or tables, or the JSON of `feast registry-dump`. What another model reads is not counted as "
        "saved, and its table does not retire.",
        examples=["consumers.yaml"],
    )
    slices: tuple[str | dict[str, Any], ...] = Field(
        (),
        description="Columns whose values are reported as slices. Some values only: {city: [Berlin, Paris]}; the "
        "most frequent ones: {item: {top: 20}}. With a group, its users are also sliced by how often train saw "
        "them: head, tail, new.",
        examples=[["country", {"item": {"top": 20}}]],
    )
    production_score: str | None = Field(
        None,
        description="Column with the score that production gave before the outcome. It is never a feature. The full "
        "model is compared with it on the test rows, and a full model that is clearly worse gives no pass. A "
        "probability where the metric needs one.",
        examples=["prod_ctr"],
    )
    prepare: str | None = Field(
        None,
        description="Your function package.module:function, path of `data` -> Polars LazyFrame. It makes the table; "
        "see conf/movielens.yaml.",
        examples=["features.build:table"],
    )

    @field_validator("exclude", "never_drop", "always_drop", "whole_groups", "drop_rows", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return comma_separated(value)

    @field_validator("slices", mode="before")
    @classmethod
    def _read_slices(cls, value: Any) -> Any:
        try:
            return read_slices(value)
        except UsageError as error:  # as pydantic wants it, which lists this mistake together with others
            raise NamedMistake(str(error)) from None

    @field_validator("cost", mode="before")
    @classmethod
    def _check_cost(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            if not isinstance(value, str) or not value.strip():
                raise ValueError("give `name: cost` lines, or the path of a CSV file")
            return value
        for name, cost in value.items():
            number = isinstance(cost, (int, float)) and not isinstance(cost, bool)
            if not number or not math.isfinite(cost) or cost < 0:
                raise NamedMistake(f"cost.{name}={cost!r}: give a number of 0 or more")
        return value


class SplitKeys(Section):
    """The split"""

    split: str | None = Field(
        None,
        description="time, random, group, or a column that holds train / validation / test. null: time where there "
        "is a time column, otherwise random.",
        examples=["time", "fold"],
    )
    split_files: dict[Literal["train", "validation", "test"], str] = Field(
        default_factory=dict,
        description="Split -> file, folder or glob, for splits in files of their own. They are the data where "
        "`data` is not given. Without validation, a part of the train rows serves.",
        examples=[{"train": "train/*.parquet", "test": "test/*.parquet"}],
    )
    test_share: float = Field(0.2, gt=0, lt=1, description="Share of the rows for the verdict. They are read once.")
    validation_share: float = Field(
        0.15,
        gt=0,
        lt=1,
        description="Share of the rows before the test split that choose. Early stopping, K and temperatures use them.",
    )

    @model_validator(mode="before")
    @classmethod
    def _data_of_splits(cls, values: Any) -> Any:
        """``split_files`` names the data where ``data`` does not."""
        if isinstance(values, Mapping) and isinstance(values.get("split_files"), Mapping) and not values.get("data"):
            return {**values, "data": ",".join(map(str, values["split_files"].values()))}
        return values
