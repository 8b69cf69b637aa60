"""Stands in for TorchRec's KeyedTensor, which is not installed."""

from __future__ import annotations

from torch import Tensor


class Keyed:
    """Keys, lengths and one wide tensor of values."""

    def __init__(self, keys: list[str], length_per_key: list[int], values: Tensor) -> None:
        self._keys, self._lengths, self._values = keys, length_per_key, values

    def keys(self) -> list[str]:
        return self._keys

    def length_per_key(self) -> list[int]:
        return self._lengths

    def values(self) -> Tensor:
        return self._values

    def to_dict(self) -> dict[str, Tensor]:
        return dict(zip(self._keys, self._values.split(self._lengths, dim=1), strict=True))
