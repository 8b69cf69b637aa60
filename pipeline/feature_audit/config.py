"""The audit's configuration: every key, its type, its default and what it means.

Precedence is command line > file(s) > profile > default (``config_files.py``). Unknown keys are refused by name.
The classes are frozen: a stage can read its configuration and never change it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from feature_audit.config_sections import (
    ChecksConfig,
    EncodingConfig,
    NamedMistake,
    ReaderConfig,
    Section,
    SelectionConfig,
    TrainingConfig,
)
from feature_audit.errors import UsageError
from feature_audit.metric_names import parse_metric
from feature_audit.question import Guard, GuardMode, Margin, check_guards, read_guards, read_margin, read_slices
from feature_audit.schema import Task

KindName = Literal["numeric", "categorical", "boolean", "multi", "vector", "datetime"]

#: Decision metric per task where the user names none; all are "higher is better" as reported.
DEFAULT_METRIC: dict[str, str] = {"binary": "auc", "regression": "r2", "multiclass": "accuracy"}

#: Margin where the user names none: of metrics without a unit, and of those in the target's own.
DEFAULT_MARGIN, DEFAULT_SHARE = 0.002, "1%"

#: What a profile sets: plain keys, below every file and the command line.
PROFILES: dict[str, dict[str, Any]] = {
    "quick": {"trials": 1, "seeds": 3, "baseline_seeds": 2},
    "default": {"trials": 3, "seeds": "auto", "baseline_seeds": "auto"},
    "thorough": {"trials": 12, "seeds": 5, "baseline_seeds": 5},
}


class AuditConfig(Section):
    """All keys of an audit; every one is also a command-line option and a parameter of `mlflow run`."""

    data: str = Field("demo", description="demo, or a path, glob or URI of Parquet, CSV / TSV, Arrow or RecBole files")
    target: str | None = Field(None, description="label column, or an expression such as `rating >= 4`")
    task: Task | None = Field(None, description="None = inferred from the target's values")
    positive: str | int | float | bool | None = Field(
        None, description="value of the target that is the positive class; None = by number or word, else the rarer"
    )
    row_id: str | None = Field(None, description="column that names a row; never a feature")
    time: str | None = Field(None, description="time column: the last rows are the test; never a feature")
    group: str | None = Field(
        None, description="unit of resampling and of GAUC, e.g. the user; a feature only if asked"
    )
    group_is_feature: bool = Field(False, description="the full model has an embedding of the group, as a category")
    weight: str | None = Field(
        None, description="column that says how many rows a row counts as, in training and in metrics; never a feature"
    )
    negative_sampling: float | None = Field(
        None, gt=0, le=1, description="share of the negatives that the log has: each counts 1 / share rows; None = all"
    )
    exclude: tuple[str, ...] = Field(
        (), description="columns or globs to exclude from the features, of the full model too"
    )
    never_drop: tuple[str, ...] = Field((), description="features or globs that must be kept")
    always_drop: tuple[str, ...] = Field(
        (), description="features of the full model that the pruned one may never keep, whatever they are worth"
    )
    drop_rows: tuple[Literal["no_time", "no_label", "no_group"], ...] = Field(
        (), description="rows to leave out and count: no_time, no_label, no_group; under 1 % without a time always are"
    )
    split_files: dict[Literal["train", "validation", "test"], str] = Field(
        default_factory=dict, description="split -> file, folder or glob, for splits in files of their own"
    )
    split: str | None = Field(None, description="time, random, group, or a column holding train / validation / test")
    k: int | Literal["auto"] = Field("auto", description="the most features to keep; auto = no budget")
    k_min: int = Field(1, ge=1, description="the fewest features worth considering; k_min = k fixes K")
    metric: str | None = Field(None, description="decision metric; None = auc, r2 or accuracy, by task")
    margin: Margin | None = Field(
        None,
        description="largest loss that counts as none, in the metric's units; or a share of the full model's advantage "
        "over no skill, such as 1%; None = 0.002, for rmse and mae 1%",
    )
    guards: dict[str, Guard] = Field(
        default_factory=dict, description="other metric -> its margin, or {margin, mode: not_worse or not_shown_worse}"
    )
    slice_margin: Margin | None = Field(
        None, description="margin of the decision metric in every slice; None = slices are only reported"
    )
    slice_mode: GuardMode = Field(
        "not_shown_worse", description="not_shown_worse: a shown loss fails; not_worse: a pass needs every slice shown"
    )
    production_score: str | None = Field(
        None, description="column with the score that production gave before the outcome; compared, never a feature"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the interval that the verdict stands on")
    looks: int = Field(
        1, ge=1, description="looks at the test rows that are planned before the first; they share the error"
    )
    trials: int = Field(3, ge=1, description="selection runs, Optuna trials; auto = the profile's number")
    seeds: int | Literal["auto"] = Field(
        "auto", description="pruned models to train; auto = as the profile says, by default as many as decide"
    )
    baseline_seeds: int | Literal["auto"] = Field(
        "auto", description="trainings of the full model; auto = as the profile says, by default as many as decide"
    )
    against: Literal["retrained", "deployed"] = Field(
        "retrained",
        description="retrained = the full feature set over its trainings; deployed = the one full model as trained",
    )
    model: str = Field("dcn_v2", description="mlp, dcn_v2, deepfm, or your own package.module:factory")
    checkpoint: str | None = Field(
        None, description="file of a trained full model's state dict, loaded instead of a training"
    )
    trainer: str | None = Field(None, description="your training function, package.module:train")
    command: str | None = Field(None, description="your training program, such as `python train.py --task {task}`")
    command_timeout: float = Field(0, ge=0, description="seconds that one call of command may take; 0 = no limit")
    boosting_reference: bool = Field(
        True, description="compare the full model with a quick gradient boosting, which shows a weak one"
    )
    selector: str = Field("ip_cae", description="ip_cae, cae, or a baseline by name")
    experiment: str = Field("feature-audit", description="MLflow experiment")
    model_name: str = Field("feature-audit", description="registered model that receives the recommendation")
    gate: bool = Field(False, description="exit with 3 on fail and 4 on inconclusive")
    profile: Literal["quick", "default", "thorough"] = Field("default", description="quick, default or thorough")
    seed: int = Field(0, ge=0, lt=2**32, description="start of all random numbers")
    workers: int = Field(1, ge=1, le=1024, description="processes that run trials at once")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of torch; 0 = two, or one on a single core")
    work_dir: str = Field(".audit", description="where training stores and caches live")
    prepare: str | None = Field(None, description="package.module:function, path of `data` -> LazyFrame of features")
    attach: str | None = Field(None, description="submodule of a user's model whose output holds the embeddings")
    model_params: dict[str, Any] = Field(default_factory=dict, description="arguments of the model's factory")
    test_share: float = Field(0.2, gt=0, lt=1, description="of the rows, for the verdict")
    validation_share: float = Field(0.15, gt=0, lt=1, description="of the rows before the test split")
    kinds: dict[str, KindName] = Field(default_factory=dict, description="column or glob -> kind, over inference")
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="source table -> columns or globs")
    whole_groups: tuple[str, ...] = Field((), description="groups kept or dropped as a whole; `*` = every group")
    cost: dict[str, float] | str = Field(
        default_factory=dict, description="column, glob or table -> yearly cost, any unit; or a CSV file of them"
    )
    consumers: str | None = Field(
        None, description="file that says which other models read which features or tables; or a Feast registry dump"
    )
    slices: tuple[str | dict[str, Any], ...] = Field(
        (), description="columns whose values are slices; some values only: {city: [Berlin, Paris]}, {item: {top: 20}}"
    )
    reader: ReaderConfig = Field(ReaderConfig(), description="how to read text files")
    encoding: EncodingConfig = Field(EncodingConfig(), description="from raw values to what a model embeds")
    training: TrainingConfig = Field(TrainingConfig(), description="one training of a model, full or pruned")
    selection: SelectionConfig = Field(SelectionConfig(), description="the selector's training")
    checks: ChecksConfig = Field(ChecksConfig(), description="thresholds of the findings about the data")

    @model_validator(mode="before")
    @classmethod
    def _data_of_splits(cls, values: Any) -> Any:
        """``split_files`` names the data where ``data`` does not."""
        if isinstance(values, Mapping) and isinstance(values.get("split_files"), Mapping) and not values.get("data"):
            return {**values, "data": ",".join(map(str, values["split_files"].values()))}
        return values

    @model_validator(mode="before")
    @classmethod
    def _one_model(cls, values: Any) -> Any:
        """A checkpoint is one full model: it is that one that the pruned models are compared with."""
        if isinstance(values, Mapping) and values.get("checkpoint") and not values.get("against"):
            return {**values, "against": "deployed"}
        return values

    @model_validator(mode="before")
    @classmethod
    def _auto_is_the_profile(cls, values: Any) -> Any:
        """``auto`` for a count means what the profile sets."""
        if not isinstance(values, Mapping):
            return values
        counts = PROFILES.get(str(values.get("profile", "default")), PROFILES["default"])
        return {**values, **{key: count for key, count in counts.items() if values.get(key) == "auto"}}

    @field_validator("exclude", "never_drop", "always_drop", "whole_groups", "drop_rows", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("margin", "slice_margin", "guards", "slices", mode="before")
    @classmethod
    def _read_question(cls, value: Any, info: ValidationInfo) -> Any:
        key = str(info.field_name)
        try:
            if key == "guards":
                return read_guards(value)
            if key == "slices":
                return read_slices(value)
            return None if value is None else read_margin(key, value)
        except UsageError as error:  # as pydantic wants it, which lists this mistake beside others
            raise NamedMistake(str(error)) from None

    @field_validator("metric")
    @classmethod
    def _lower_case(cls, value: str | None) -> str | None:
        return value.lower() if value else value

    @field_validator("k", "trials", "seeds", "baseline_seeds", mode="before")
    @classmethod
    def _read_count(cls, value: Any, info: ValidationInfo) -> Any:
        least = 2 if info.field_name == "seeds" else 1
        wanted = f"give a whole number of at least {least}, or auto"
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(wanted)
        if isinstance(value, str) and value != "auto":
            if not re.fullmatch(r"[+-]?\d+", value.strip()):
                raise ValueError(wanted)
            value = int(value)
        if not isinstance(value, str) and value < least:
            raise ValueError(wanted)
        return value

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

    @model_validator(mode="after")
    def _agree(self) -> AuditConfig:
        if self.k != "auto" and self.k_min > self.k:
            raise ValueError(f"k_min={self.k_min} is above k={self.k}; lower k_min or raise k")
        self._one_full_model()
        ignored = ("auto", 1, PROFILES[self.profile]["baseline_seeds"])  # the profile asks for no second deployed model
        if self.against == "deployed" and self.baseline_seeds not in ignored:
            raise ValueError(
                f"baseline_seeds={self.baseline_seeds}: with against=deployed there is one full model; give 1"
            )
        if self.split_files and not {"train", "test"} <= self.split_files.keys():
            raise ValueError("split_files: give the files of train and test, and of validation if there are any")
        if self.weight is not None and self.negative_sampling is not None:
            raise ValueError(
                f"negative_sampling={self.negative_sampling:g}: weight={self.weight} weighs the rows already; "
                "give one of the two"
            )
        if self.negative_sampling is not None and self.task not in (None, "binary"):
            raise ValueError(
                f"negative_sampling={self.negative_sampling:g}: task={self.task} has no negatives; give weight=<column>"
            )
        if self.split_files and self.split:
            raise ValueError(f"split={self.split}: split_files splits already; give one of the two")
        for name in self.whole_groups:
            if name != "*" and name not in self.groups:
                known = ", ".join(self.groups) or "none is named"
                raise ValueError(f"whole_groups={name}: no such group; groups: {known}")
        try:
            if self.metric:
                parse_metric(self.metric, self.task)
            check_guards(self.guards, self.metric or DEFAULT_METRIC.get(str(self.task)), self.task)
        except UsageError as error:
            raise ValueError(str(error)) from None
        if self.slice_mode == "not_worse" and self.slice_margin is None:
            raise ValueError("slice_mode=not_worse: needs slice_margin; give the loss that counts as none in a slice")
        return self

    def _one_full_model(self) -> None:
        """At most one place where the full model comes from."""
        given = {"checkpoint": self.checkpoint, "trainer": self.trainer, "command": self.command}
        named = [f"{key}={value}" for key, value in given.items() if value]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)}: each says where the full model comes from; give one of them")
        if self.checkpoint and self.against == "retrained":
            raise ValueError(
                f"against=retrained: checkpoint={self.checkpoint} is one model, whose luck cannot be told from its "
                "features; leave against out"
            )

    @model_validator(mode="after")
    def _group_agrees(self) -> AuditConfig:
        if self.group_is_feature and self.group is None:
            raise ValueError("group_is_feature=true: no group is named; give group=<column>")
        if self.group_is_feature and self.split == "group":
            raise ValueError(
                "group_is_feature=true: with split=group train knows no group of the test rows; give another split"
            )
        return self

    @property
    def absolute_margin(self) -> float:
        """The margin in the metric's units; a share is resolved after the full model's training."""
        assert isinstance(self.margin, float), f"margin={self.margin} is not resolved yet"
        return self.margin

    @property
    def absolute_slice_margin(self) -> float | None:
        """The margin of slices in the metric's units, None where they are only reported."""
        assert not isinstance(self.slice_margin, str), f"slice_margin={self.slice_margin} is not resolved yet"
        return self.slice_margin

    @property
    def shares(self) -> dict[str, str]:
        """Key -> margin, of margins that are shares and wait for the full model's training."""
        margins: dict[str, Margin | None] = {"margin": self.margin, "slice_margin": self.slice_margin}
        margins |= {f"guards.{name}": guard.margin for name, guard in self.guards.items()}
        return {key: margin for key, margin in margins.items() if isinstance(margin, str)}
