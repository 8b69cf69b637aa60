"""Keys that say which models are trained, how often and on what, and where results go."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from feature_audit.config.question_keys import read_count, read_rows
from feature_audit.config.sections import Section


class ModelKeys(Section):
    """The model"""

    model: str = Field(
        "dcn_v2",
        description="mlp, dcn_v2, deepfm, or your own package.module:factory.",
        examples=["ranking.model:build"],
    )
    model_params: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the model's factory.", examples=[{"hidden": [64, 32]}]
    )
    attach: str | None = Field(
        None,
        description="Submodule of your model whose output holds the field embeddings. Needed where the model has no "
        "embed / predict.",
        examples=["embedding"],
    )
    checkpoint: str | None = Field(
        None,
        description="File of a trained full model's state dict, loaded instead of a training. Written by "
        "torch.save(model.state_dict()), or .safetensors; of a model over this audit's encodings "
        "(docs/how-to/own-trainer.md). Implies against: deployed.",
        examples=["full.pt"],
    )
    trainer: str | None = Field(
        None,
        description="Your training function, package.module:train. It gets a task and gives scores, and trains the "
        "full model and the pruned ones; `model` is then the reference whose features the selection opens and "
        "closes (docs/how-to/own-trainer.md).",
        examples=["jobs.train:train"],
    )
    command: str | None = Field(
        None,
        description="Your training program. It reads the task's JSON file and writes predictions.parquet.",
        examples=["python train.py --task {task}"],
    )
    command_timeout: float = Field(0, ge=0, description="Seconds that one call of `command` may take. 0: no limit.")
    boosting_reference: bool = Field(
        True,
        description="Compare the full model with a quick gradient boosting on the validation rows. It shows a weak "
        "full model, with which parity proves little; where it is off, the report says so.",
    )
    selector: str = Field("ip_cae", description="ip_cae, cae, or a baseline by name.", examples=["lightgbm_gain"])


class WorkKeys(Section):
    """The work"""

    profile: Literal["quick", "default", "thorough"] = Field(
        "default",
        description="quick, default or thorough. They set trials to 1, 3, 12; seeds to 3, auto, 5; baseline_seeds "
        "to 2, auto, 5. What a profile sets is below every file.",
    )
    trials: int = Field(
        3,
        ge=1,
        description="Selection runs that rank together. Each is an Optuna trial with its own seed, number of slots "
        "and temperature schedule; the first has the recommended ones. From 8 trials on, TPE draws them and stops "
        "those that fall behind. auto: the profile's number.",
    )
    seeds: int | Literal["auto"] = Field(
        "auto",
        description="Pruned models to train, each with its own seed. auto: as the profile says; by default 2 to 5, "
        "planned on validation so that the test split decides.",
        examples=[5],
    )
    baseline_seeds: int | Literal["auto"] = Field(
        "auto",
        description="Trainings of the full model, the baseline included. auto: as the profile says; by default 1 "
        "where the selection has shown a clear difference, otherwise as many as of the pruned model or one fewer.",
        examples=[3],
    )
    rows: int | float | None = Field(
        None,
        description="Train and validation rows that the selection reads: a number, or a share such as 10%. Whole "
        "groups are sampled, rows where there is no group. The full model, the confirmations of K and the pruned "
        "models are trained and judged on all rows. null: all.",
        examples=[1_000_000, "10%"],
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Start of all random numbers.")
    engine: Literal["local", "ray"] = Field(
        "local",
        description="Where trials and trainings run: local or ray. local: processes of this machine. ray: the Ray "
        "cluster that RAY_ADDRESS names, otherwise one on this machine (docs/how-to/more-than-one-machine.md).",
    )
    workers: int = Field(
        1,
        ge=1,
        le=1024,
        description="Trials and trainings that run at once. Each has a process of its own and, where there are several "
        "cards, a card of its own. The audit is the same with any number of them.",
    )
    ranks: int = Field(
        1,
        ge=1,
        le=1024,
        description="Processes that train one model together, each on its part of every batch and on a core or a card "
        "of its own. For a full model whose training takes too long on one. The full model and the pruned models are "
        "trained this way. Trials of the selection are not: they run side by side with `workers` "
        "(docs/how-to/more-than-one-machine.md).",
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N.")
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="CPU threads of torch. 0: two, or one on a machine with a single core. "
        "Several workers have no more of them than their share of the cores.",
    )

    @field_validator("trials", "seeds", "baseline_seeds", mode="before")
    @classmethod
    def _read_counts(cls, value: Any, info: ValidationInfo) -> Any:
        return read_count(value, 2 if info.field_name == "seeds" else 1)

    @field_validator("rows", mode="before")
    @classmethod
    def _read_rows(cls, value: Any) -> Any:
        return None if value is None else read_rows(value)


class ResultKeys(Section):
    """Where results go"""

    experiment: str = Field("feature-audit", description="MLflow experiment.")
    model_name: str = Field(
        "feature-audit",
        description="Registered model that receives the recommendation. Its name has no `/`, `:` or `?`.",
    )
    work_dir: str = Field(".audit", description="Folder of training stores and caches.", examples=["/scratch/audit"])
    local_dir: str | None = Field(
        None,
        description="Folder of a disk of each machine, for a work_dir on a network file system. The encoded rows are "
        "copied there once per machine and read from there. Variables are those of each machine. The copies stay "
        "until you remove them (docs/how-to/more-than-one-machine.md).",
        examples=["$TMPDIR/audit"],
    )
