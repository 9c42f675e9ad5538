"""Named random streams: a generator for every source of randomness, all derived from the same seed."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def derived_seed(seed: int, *names: str) -> int:
    """Derive a seed in 0..2**63-1 for a named purpose, the same on every machine."""
    text = "/".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class Streams:
    """Independent generators, one for each source of randomness.

    They live on the CPU whatever the model's device, so that the same seed draws the same inputs everywhere.

    Args:
        seed: any integer.
        purpose: what the streams are for ("training", "fixed batch"); streams of two purposes share nothing.
        names: the sources of randomness.
    """

    def __init__(self, seed: int, purpose: str, names: Iterable[str]) -> None:
        """Seed every generator by the seed, the purpose and its name, so that adding a source changes no other."""
        self._generators = {
            name: torch.Generator().manual_seed(derived_seed(seed, purpose, name)) for name in sorted(names)
        }

    def __getitem__(self, name: str) -> torch.Generator:
        """Return the generator of a source; drawing from it advances that source alone."""
        return self._generators[name]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the exact state of every stream, as bytes."""
        return {name: generator.get_state() for name, generator in self._generators.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Set every stream to a state that `state_dict` returned.

        Raises:
            KeyError: a stream is missing.
        """
        for name, generator in self._generators.items():
            generator.set_state(state[name])
