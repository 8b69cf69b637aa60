"""Loads a trained full model from a file of tensors instead of training it."""

from __future__ import annotations

import hashlib
import logging
import pickle
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from feature_audit.config import AuditConfig
from feature_audit.data import Encoders, Prepared
from feature_audit.errors import AuditError, UsageError
from feature_audit.fitting.trained import fresh_model
from feature_audit.models import MODELS

log = logging.getLogger(__name__)

#: File next to a checkpoint with the encoders of the rows on which it was trained.
ENCODERS = "encoders.json"
_SAVE_IT = "save it with torch.save(model.state_dict(), path)"
#: Prefix of all names if the model was wrapped, by DistributedDataParallel or by an audit.
_WRAPPED = "module."
_THE_SAME = "give the model, model_params, training.embedding_dim, features and encoding that it was trained with"
#: Maximum number of names in an error message.
_SHOWN = 3


def check_checkpoint(config: AuditConfig) -> None:
    """Refuse a checkpoint that is not a file of tensors.

    Raises:
        UsageError: see ``read_checkpoint``.
    """
    if config.checkpoint:
        read_checkpoint(config.checkpoint)


def read_checkpoint(path: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name; code in the file is never executed.

    Raises:
        UsageError: the file does not exist, or is not a state dict.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"checkpoint={path}: no such file (looked in {file.resolve().parent})")
    if file.suffix == ".safetensors":
        return _safetensors(file)
    try:
        content = torch.load(file, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        raise UsageError(
            f"checkpoint={path}: is not a torch file that contains only tensors, and is not opened; {_SAVE_IT}"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"checkpoint={path}: cannot be read ({_one_line(error)}); {_SAVE_IT}") from None
    return _state_dict(path, content)


def checkpoint_digest(config: AuditConfig) -> str:
    """blake2b of the file's bytes; empty without a checkpoint."""
    if not config.checkpoint:
        return ""
    with Path(config.checkpoint).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def load_checkpoint(config: AuditConfig, prepared: Prepared) -> nn.Module:
    """The full model with the checkpoint's weights, in eval mode on the CPU.

    Raises:
        AuditError: its tensors differ from the model's in names or shapes, or it was trained with other encodings.
    """
    path = str(config.checkpoint)
    model = fresh_model(config, prepared.schema, config.seed)
    wanted = model.state_dict()
    found = _named_as(wanted, read_checkpoint(path))
    if config.model not in MODELS:  # an audit adds output scaling; a checkpoint of only the user's module lacks it
        found = {name: value for name, value in wanted.items() if name.startswith("scaling.")} | found
    missing, strange = [name for name in wanted if name not in found], [name for name in found if name not in wanted]
    if missing or strange:
        differences = [f"{what} {_listed(names)}" for what, names in (("lacks", missing), ("has", strange)) if names]
        raise AuditError(f"checkpoint={path}: {' and '.join(differences)}, {_of(config, prepared)}; {_THE_SAME}")
    other = [
        f"{_own(name)} {_shape(found[name])} instead of {_shape(wanted[name])}"
        for name in wanted
        if found[name].shape != wanted[name].shape
    ]
    if other:
        raise AuditError(f"checkpoint={path}: has {_listed(other)}, {_of(config, prepared)}; {_THE_SAME}")
    unfit = [name for name, value in found.items() if value.is_floating_point() and not value.isfinite().all()]
    if unfit:
        raise AuditError(f"checkpoint={path}: {_listed(unfit)} contains values that are not finite; give another file")
    _require_same_encodings(path, prepared)
    model.load_state_dict(found)
    return model.eval()


def _require_same_encodings(path: str, prepared: Prepared) -> None:
    """A model reads knots and codes, not raw cells, so equal shapes do not imply equal encodings."""
    encoders = Path(path).with_name(ENCODERS)
    if not encoders.is_file():
        log.info("baseline: there is no %s next to %s, so its encodings are not checked", ENCODERS, path)
        return
    theirs, ours = (Encoders.load(file).by_name for file in (encoders, prepared.directory / ENCODERS))
    if list(theirs) != list(ours):
        names = [name for name in (*theirs, *ours) if (name in theirs) != (name in ours)] or list(theirs)
        raise AuditError(
            f"checkpoint={path}: was trained on different features than this log has: {_listed(names)} ({encoders}); "
            "audit the log that it was trained on"
        )
    changed = [name for name in ours if theirs[name].state() != ours[name].state()]
    if changed:
        raise AuditError(
            f"checkpoint={path}: was trained with different encodings of {_listed(changed)}, of {len(ours)} features "
            f"({encoders}); audit the log that it was trained on, or compare scores with production_score=<column>"
        )


def _named_as(wanted: Collection[str], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the model's names, whether the model was wrapped when it was saved, is wrapped now, or both."""
    names = (
        {name: name for name in found},
        {name: f"{_WRAPPED}{name}" for name in found},
        {name: name.removeprefix(_WRAPPED) for name in found},
    )
    best = max(names, key=lambda new: len(set(wanted) & set(new.values())))
    return {best[name]: value for name, value in found.items()}


def _safetensors(file: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise UsageError(f"checkpoint={file}: needs the package safetensors; install it") from None
    try:
        return dict(load_file(file))
    except Exception as error:  # safetensors has a separate exception class
        raise UsageError(f"checkpoint={file}: is not a safetensors file ({_one_line(error)}); write it again") from None


def _state_dict(path: str, content: object) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        strange = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
        if content and not strange:
            return {str(name): value for name, value in content.items()}
        tensors = "is not a tensor" if len(strange) == 1 else "are not tensors"
        held = f"{_listed(strange)}, which {tensors}" if content else "nothing"
    else:
        held = f"a {type(content).__name__}"
    raise UsageError(f"checkpoint={path}: contains {held}; {_SAVE_IT}")


def _of(config: AuditConfig, prepared: Prepared) -> str:
    return f"unlike model={config.model} over the {len(prepared.schema.fields)} features of this log"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(map(_own, names[:_SHOWN]))}{more}"


def _own(name: str) -> str:
    """A tensor's name in the user's module."""
    return name.removeprefix(_WRAPPED)


def _shape(value: Tensor) -> str:
    return str(tuple(value.shape))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
