"""Flat dictionaries of tensors, in which a prefix says whose they are."""

from collections.abc import Mapping

from torch import Tensor


def grouped(**groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Merge dictionaries of tensors: the tensor "b" of the group `a` is called "a.b"."""
    return {f"{group}.{name}": value for group, tensors in groups.items() for name, value in tensors.items()}


def part(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    """Return a group of what `grouped` returned, under the names that its tensors had before."""
    prefix = f"{group}."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
