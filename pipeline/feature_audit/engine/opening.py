"""The engine for a configuration."""

from __future__ import annotations

import importlib.util
import os
from contextlib import AbstractContextManager

from feature_audit.config import AuditConfig
from feature_audit.engine.jobs import Engine
from feature_audit.engine.local import LocalEngine
from feature_audit.engine.process import job_threads
from feature_audit.errors import UsageError


def check_engine(config: AuditConfig) -> None:
    """Refuse an engine that is not installed, and more ranks than GPUs on this machine.

    Raises:
        UsageError: one line.
    """
    if config.engine == "ray" and importlib.util.find_spec("ray") is None:
        raise UsageError(
            "engine=ray: the package ray is not installed; pip install 'ray>=2.60,<3', or give engine=local"
        )
    if config.engine == "local" and config.ranks > 1 and config.device != "cpu":
        import torch

        cards, needed = torch.cuda.device_count(), config.workers * config.ranks
        if 0 < cards < needed:
            together = f" and workers={config.workers}" if config.workers > 1 else ""
            raise UsageError(
                f"ranks={config.ranks}{together}: need {needed} cards, one for each rank, and torch sees {cards}; "
                "give fewer, or device=cpu"
            )


def opened(config: AuditConfig) -> AbstractContextManager[Engine]:
    """The engine, as a context manager.

    Raises:
        AuditError: raised on entry if no Ray cluster responds.
    """
    if config.engine == "ray":
        from feature_audit.engine.ray_cluster import RayEngine

        return RayEngine(config.threads or 1, cards=config.device != "cpu")
    cards = _cards(config.device)
    groups = [",".join(cards[first : first + config.ranks]) for first in range(0, len(cards), config.ranks)]
    return LocalEngine(config.workers, job_threads(config.threads, config.workers), groups)


def opened_ranks(config: AuditConfig) -> AbstractContextManager[Engine]:
    """An engine for the ranks of one training, which all run at once; used inside a job, with that job's GPUs."""
    per_rank = (
        config.threads or 1 if config.engine == "ray" else job_threads(config.threads, config.workers * config.ranks)
    )
    return LocalEngine(config.ranks, per_rank, _cards(config.device), tries=1)


def _cards(device: str) -> list[str]:
    """The GPUs to assign to workers; empty if there is no choice: on a CPU, or if the user names the device."""
    import torch

    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if count < 2:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [card.strip() for card in visible.split(",")] if visible else [str(card) for card in range(count)]
