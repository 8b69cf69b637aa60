"""What one check of the model contract saw."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelFinding:
    """One check of the contract: what was asked, whether it holds, and what was seen."""

    check: str
    passed: bool
    detail: str
