"""The result of one check of the model contract."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelFinding:
    """One check of the contract: its name, whether it passed, and the observation."""

    check: str
    passed: bool
    detail: str
