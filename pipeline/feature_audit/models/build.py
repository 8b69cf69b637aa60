"""Builds a model module from its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from feature_audit.errors import UsageError
from feature_audit.importing import import_function, what_failed
from feature_audit.models.custom.attach import AttachedModel, submodules
from feature_audit.models.custom.user_model import UserModel
from feature_audit.models.zoo.heads import DcnV2, DeepFm, Mlp
from feature_audit.schema import ModelSchema

MODELS: dict[str, Callable[..., nn.Module]] = {"mlp": Mlp, "dcn_v2": DcnV2, "deepfm": DeepFm}
_CONTRACT = "must accept the schema: def build(schema, **model_params)"


def build_model(
    name: str,
    schema: ModelSchema,
    *,
    embedding_dim: int,
    params: dict[str, Any],
    attach: str | None = None,
    seed: int | None = None,
) -> nn.Module:
    """A fresh, untrained model of the contract (``embed``, ``predict``).

    Args:
        name: ``mlp``, ``dcn_v2``, ``deepfm``, or ``package.module:factory``, called as ``factory(schema, **params)``.
        schema: the fields it embeds and the task.
        embedding_dim: d, for the shipped models.
        params: further keyword arguments of the model or factory.
        attach: for a factory's module: submodule(s) whose output is the field embeddings (see ``AttachedModel``).
        seed: seed of the initial weights; None = torch's current random state.

    Raises:
        UsageError: the model, factory or parameter is unknown, or the module does not follow the contract.
    """
    if attach and name in MODELS:
        raise UsageError(
            f"attach={attach}: model={name} does not need it; attach is only for package.module:factory models"
        )
    factory = check_arguments(name, params)
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        if name in MODELS:
            return MODELS[name](schema, embedding_dim=embedding_dim, **params)
        module = _made(factory, name, schema, params)
        if not isinstance(module, nn.Module):
            raise UsageError(f"model={name}: the factory returned {type(module).__name__}, not a torch.nn.Module")
        if attach:
            return AttachedModel(module, schema, attach)
        for method in ("embed", "predict"):
            if not callable(getattr(module, method, None)):
                raise UsageError(
                    f"model={name}: {type(module).__name__} has no {method}(); add it, or name the submodule whose "
                    f"output holds the embeddings in the configuration file: attach: <one of {submodules(module)}>"
                )
        return UserModel(module, schema)


def find_factory(name: str) -> Callable[..., Any]:
    """The function named by ``package.module:factory``.

    Raises:
        UsageError: the module or function does not exist.
    """
    if ":" not in name:
        raise UsageError(f"model={name}: no such model; choose {', '.join(MODELS)} or package.module:factory")
    return import_function("model", name)


def check_arguments(name: str, params: dict[str, Any]) -> Callable[..., Any]:
    """The function behind a model's name, after checking that it accepts a schema and these parameters.

    Args:
        name: as in ``build_model``.
        params: the configuration's ``model_params``.

    Raises:
        UsageError: the module or function does not exist, or it takes other arguments.
    """
    if name in MODELS:
        if "embedding_dim" in params:
            raise UsageError(f"model_params.embedding_dim={params['embedding_dim']}: give training.embedding_dim")
        problem = _bound_by(MODELS[name], {"embedding_dim": 1, **params})
        if problem:
            raise UsageError(f"model={name}: model_params do not fit: {problem}")
        return MODELS[name]
    factory = find_factory(name)
    problem = _bound_by(factory, params)
    if problem:
        raise UsageError(f"model={name}: {_CONTRACT}; {problem}")
    return factory


def _bound_by(factory: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """Why the factory cannot be called with a schema and these arguments; None if it can."""
    try:
        signature = inspect.signature(factory)
    except ValueError:
        return None  # written in C, without a signature to check
    if not signature.parameters:
        return "yours does not take arguments"
    try:
        signature.bind(None, **arguments)
    except TypeError as error:
        return f"{error}; its other arguments come from model_params"
    return None


def _made(factory: Callable[..., Any], name: str, schema: ModelSchema, params: dict[str, Any]) -> Any:
    """The factory's module; a class that cannot be built from a schema is one line instead of a traceback."""
    try:
        return factory(schema, **params)
    except (TypeError, AttributeError) as error:
        if not inspect.isclass(factory):
            raise
        raise UsageError(
            f"model={name}: {_CONTRACT}; the class {factory.__name__} cannot be built this way: {what_failed(error)}"
        ) from error
