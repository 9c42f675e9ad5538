"""Flat dictionaries of tensors, in which a prefix says whose they are."""

from collections.abc import Mapping

from torch import Tensor


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names have a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
