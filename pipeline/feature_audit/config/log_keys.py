"""Keys that describe the log, the role of each column, and how the rows are split.

The first sentence of a description appears in ``--help``, the full text in the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from feature_audit.config.sections import NamedMistake, Section
from feature_audit.errors import UsageError
from feature_audit.question import TargetRule, read_slices, read_targets
from feature_audit.schema import Kind, Task


def comma_separated(value: Any) -> Any:
    """``a, b`` as a list; any other value unchanged."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class LogKeys(Section):
    """The log and its columns"""

    data: str = Field(
        "demo",
        description="The log: `demo`, or a path, glob or URI. Formats: Parquet, CSV / TSV (also .gz, .zst), JSON "
        "lines, Arrow IPC, a Hive-partitioned folder, or a RecBole .inter file with its .user and .item files next to "
        "it. "
        "`demo` is a simulated log (conf/demo.yaml).",
        examples=["/logs/clicks/*.parquet", "s3://logs/clicks/"],
    )
    target: str | None = Field(
        None,
        description="Label: a column, or an expression such as `rating >= 4`. The columns it uses are never features.",
        examples=["clicked", "rating >= 4"],
    )
    targets: dict[str, TargetRule] = Field(
        default_factory=dict,
        description="Several labels per row, instead of `target`; the first one is the decision target. A list of "
        "names, name -> metric, or name -> {metric, margin, mode}. One model predicts all of them. A pass requires "
        "non-inferiority on each; a target with mode not_shown_worse only fails the audit if a loss is proven. Each "
        "target is binary or numeric. A row that lacks the label of a secondary target still counts for the others.",
        examples=[["click", "convert"], {"click": "auc", "convert": {"metric": "auc", "margin": 0.005}}],
        json_schema_extra={
            "type": ["object", "array", "string"],
            "items": {"type": "string"},
            "additionalProperties": {"type": ["object", "string", "null"]},
        },
    )
    task: Task | None = Field(
        None,
        description="binary, regression or multiclass. null: two values = binary, text or at most 20 whole numbers = "
        "multiclass, other numbers = regression.",
        examples=["binary"],
    )
    positive: str | int | float | bool | None = Field(
        None,
        description="Positive class of a binary label. null: the larger of two numbers. Of two words, a known one "
        "(click, yes, ...) or the opposite of a known one (skip, no, no click, ...); otherwise the rarer one, and "
        "the log says so.",
        examples=["yes"],
    )
    row_id: str | None = Field(
        None, description="Column that identifies a row. It is never a feature.", examples=["impression_id"]
    )
    time: str | None = Field(
        None,
        description="Time column; the most recent rows become the test split. It is never a feature.",
        examples=["ts"],
    )
    group: str | None = Field(
        None,
        description="Resampling unit, and unit of GAUC; usually the user. null: every row is its own unit. It is a "
        "feature only if `group_is_feature` is true.",
        examples=["user_id"],
    )
    group_is_feature: bool = Field(
        False,
        description="Give the full model an embedding of the group. The group is then a categorical feature that the "
        "pruned model may drop like any other.",
    )
    weight: str | None = Field(
        None,
        description="Column with the number of rows that each row represents. Used in training, selection and every "
        "metric. Example: 10 for a negative if one in ten was kept. Values must be 0 or more; 0 excludes the row. It "
        "is never a feature. A row with a large weight is still one observation, so unequal weights widen the "
        "intervals.",
        examples=["row_weight"],
    )
    negative_sampling: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the negatives that the log contains, such as 0.1. Shorthand for `weight` with a binary "
        "label: each negative counts as 1 / share rows. null: the log contains all negatives.",
        examples=[0.1],
    )
    exclude: tuple[str, ...] = Field(
        (),
        description="Columns or globs that are not features, not even of the full model. A list, or comma-separated.",
        examples=[["session_id", "debug_*"]],
    )
    never_drop: tuple[str, ...] = Field(
        (),
        description="Features or globs that must be kept. For example legal, safety or position features.",
        examples=[["position", "age_*"]],
    )
    always_drop: tuple[str, ...] = Field(
        (),
        description="Features or globs that must be dropped, however useful they are. For example because of a "
        "licence, privacy, or a source that is shut down. The full model still uses them, as production does today, "
        "so the verdict includes their loss. A member of a whole group takes its group with it. Use `exclude` for "
        "columns that not even the full model may see.",
        examples=[["gender", "partner_*"]],
    )
    drop_rows: tuple[Literal["no_time", "no_label", "no_group"], ...] = Field(
        (),
        description="Rows to leave out and count: no_time, no_label, no_group. Rows without a time are left out "
        "automatically if they are under 1 %; otherwise the audit stops and asks.",
        examples=[["no_label", "no_group"]],
    )
    kinds: dict[str, Kind] = Field(
        default_factory=dict,
        description="Column or glob -> kind, to correct the inferred one. Kinds: numeric, categorical, boolean, "
        "multi, vector, datetime.",
        examples=[{"age": "numeric", "*_id": "categorical"}],
    )
    groups: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Source table -> its columns or globs. A table can be retired once its last feature is dropped. "
        "A column belongs to one table.",
        examples=[{"user_profile": ["age", "user_*"]}],
    )
    whole_groups: tuple[str, ...] = Field(
        (),
        description="Groups that are kept or dropped as a whole. `*` means every group.",
        examples=[["*"]],
    )
    cost: dict[str, float] | str = Field(
        default_factory=dict,
        description="Column, glob or source table -> yearly cost of keeping it, in any single unit. Alternatively, "
        "the path of a CSV file with a cost column and the columns feature (column or glob), table, or both. The "
        "cost of a table is saved when its last feature is dropped. The search ranks expensive features lower, and "
        "the report states the savings.",
        examples=[{"emb_*": 120.0, "user_profile": 4000.0}, "costs.csv"],
    )
    consumers: str | None = Field(
        None,
        description="File that lists which other models read which features. YAML, JSON or CSV that maps consumers "
        "to features or tables, or the JSON output of `feast registry-dump`. A feature that another model reads is "
        "not counted as saved, and its table is not retired.",
        examples=["consumers.yaml"],
    )
    slices: tuple[str | dict[str, Any], ...] = Field(
        (),
        description="Columns to report results by, one slice per value. These are the 20 most frequent values of a "
        "column; {item: {top: 50}} sets the number, {city: [Berlin, Paris]} the values. Slices of fewer than 50 test "
        "rows get no interval. If there is a group, its users are also sliced by how often they occur in the train "
        "rows: head, tail, new.",
        examples=[["country", {"item": {"top": 20}}]],
    )
    production_score: str | None = Field(
        None,
        description="Column with the score that production gave before the outcome was known. It is never a feature. "
        "The full and the pruned model are compared with it on the test rows; if the pruned model is clearly worse, "
        "the verdict cannot be a pass. It must be a probability if the metric needs one.",
        examples=["prod_ctr"],
    )
    prepare: str | None = Field(
        None,
        description="Your function package.module:function that maps the path in `data` to a Polars LazyFrame. It "
        "builds the table; see conf/movielens.yaml.",
        examples=["features.build:table"],
    )

    @field_validator("exclude", "never_drop", "always_drop", "whole_groups", "drop_rows", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return comma_separated(value)

    @field_validator("slices", "targets", mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        try:
            if info.field_name == "targets":
                return {} if value is None else read_targets(value)
            return read_slices(value)
        except UsageError as error:  # a ValueError, so that pydantic lists it with the other mistakes
            raise NamedMistake(str(error)) from None

    @field_validator("cost", mode="before")
    @classmethod
    def _check_cost(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            if not isinstance(value, str) or not value.strip():
                raise ValueError("give `name: cost` lines or the path of a CSV file")
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
        description="time, random, group, or a column that contains train / validation / test. null: time if there "
        "is a time column, otherwise random.",
        examples=["time", "fold"],
    )
    split_files: dict[Literal["train", "validation", "test"], str] = Field(
        default_factory=dict,
        description="Split -> file, folder or glob, if each split has its own files. They also serve as `data` if "
        "that is not given. Without validation files, part of the train rows is used for validation.",
        examples=[{"train": "train/*.parquet", "test": "test/*.parquet"}],
    )
    test_share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Share of the rows in the test split, which decides the verdict. The test rows are read only once.",
    )
    validation_share: float = Field(
        0.15,
        gt=0,
        lt=1,
        description="Share of the rows before the test split that is used for validation. Early stopping, K and the "
        "temperatures are chosen on it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _data_of_splits(cls, values: Any) -> Any:
        """``split_files`` names the data where ``data`` does not."""
        if isinstance(values, Mapping) and isinstance(values.get("split_files"), Mapping) and not values.get("data"):
            return {**values, "data": ",".join(map(str, values["split_files"].values()))}
        return values
