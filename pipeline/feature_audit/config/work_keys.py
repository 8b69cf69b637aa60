"""Keys that define which models are trained, how often and on which hardware, and where results go."""

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
        default_factory=dict, description="Arguments of the model factory.", examples=[{"hidden": [64, 32]}]
    )
    attach: str | None = Field(
        None,
        description="Submodule of your model that outputs the field embeddings. Required if the model has no embed / "
        "predict methods.",
        examples=["embedding"],
    )
    checkpoint: str | None = Field(
        None,
        description="State-dict file of a full model that is already trained, loaded instead of training one. A file "
        "written by torch.save(model.state_dict()), or .safetensors; the model must use the encodings of this audit "
        "(docs/how-to/own-trainer.md). Implies against: deployed.",
        examples=["full.pt"],
    )
    trainer: str | None = Field(
        None,
        description="Your training function, package.module:train. It receives a task and returns scores, and it "
        "trains both the full and the pruned models. `model` is then the reference model that the selection uses "
        "(docs/how-to/own-trainer.md).",
        examples=["jobs.train:train"],
    )
    command: str | None = Field(
        None,
        description="Your training program. It reads the JSON file of the task and writes predictions.parquet.",
        examples=["python train.py --task {task}"],
    )
    command_timeout: float = Field(0, ge=0, description="Time limit in seconds for one call of `command`. 0: no limit.")
    boosting_reference: bool = Field(
        True,
        description="Compare the full model with a quick gradient-boosting model on the validation rows. This "
        "reveals a weak full model, for which parity proves little. If it is off, the report says so.",
    )
    selector: str = Field(
        "ip_cae", description="ip_cae, cae, or the name of a baseline selector.", examples=["lightgbm_gain"]
    )


class WorkKeys(Section):
    """The work"""

    profile: Literal["quick", "default", "thorough"] = Field(
        "default",
        description="quick, default or thorough. They set trials to 1, 3, 12; seeds to 3, auto, 5; baseline_seeds to "
        "2, auto, 5. Config files override the profile.",
    )
    trials: int = Field(
        3,
        ge=1,
        description="Number of selection runs whose rankings are combined. Each is an Optuna trial with its own "
        "seed, number of slots and temperature schedule; the first one uses the recommended settings. From 8 trials, "
        "TPE proposes the settings and prunes weak trials. auto: the number in the profile.",
    )
    seeds: int | Literal["auto"] = Field(
        "auto",
        description="Number of pruned models to train, each with its own seed. auto: as set by the profile; by "
        "default 2 to 5, planned on validation so that the test split can decide.",
        examples=[5],
    )
    baseline_seeds: int | Literal["auto"] = Field(
        "auto",
        description="Number of full models to train, including the baseline. auto: as set by the profile; by default "
        "1 if the selection showed a clear difference, otherwise as many as pruned models, or one fewer.",
        examples=[3],
    )
    rows: int | float | None = Field(
        None,
        description="Number of train and validation rows that the selection reads, or a share such as 10%. Whole "
        "groups are sampled, or rows if there is no group. The full model, the confirmation of K and the pruned "
        "models always use all rows. null: all rows.",
        examples=[1_000_000, "10%"],
        json_schema_extra={"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]},
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of all random numbers.")
    engine: Literal["local", "ray"] = Field(
        "local",
        description="Where trials and trainings run: local or ray. local: processes on this machine. ray: the Ray "
        "cluster that RAY_ADDRESS names, otherwise a local one (docs/how-to/more-than-one-machine.md).",
    )
    workers: int = Field(
        1,
        ge=1,
        le=1024,
        description="Number of trials and trainings that run in parallel. Each runs in its own process and, if there "
        "are several GPUs, on its own GPU. The result does not depend on this number.",
    )
    ranks: int = Field(
        1,
        ge=1,
        le=1024,
        description="Number of processes that train one model together (data-parallel). Each has its share of every "
        "batch and its own core or GPU. Use it if one training takes too long. It applies to the full model and the "
        "pruned models; trials of the selection run in parallel with `workers` instead "
        "(docs/how-to/more-than-one-machine.md).",
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N.")
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="CPU threads of torch. 0: two, or one on a single-core machine. With several workers, each gets "
        "at most its share of the cores.",
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
        description="Registered model that receives the recommendation. The name must not contain `/`, `:` or `?`.",
    )
    work_dir: str = Field(".audit", description="Folder for training stores and caches.", examples=["/scratch/audit"])
    local_dir: str | None = Field(
        None,
        description="Folder on a local disk of each machine, useful if work_dir is on a network file system. The "
        "encoded rows are copied there once per machine and read from there. Variables are expanded on each machine. "
        "The copies stay until you remove them (docs/how-to/more-than-one-machine.md).",
        examples=["$TMPDIR/audit"],
    )
