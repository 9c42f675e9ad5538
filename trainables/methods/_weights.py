"""Trains substitutes for weights of a frozen module; the frozen weights are kept, and come back untouched."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Float32(nn.Module):
    """A float32 copy of a weight, which trains in its place; the module sees it in its own precision."""

    reads_frozen = False

    def __init__(self, weight: Tensor) -> None:
        """Copy the weight, on its device."""
        super().__init__()
        self.value = nn.Parameter(weight.detach().float().clone())

    def forward(self, weight: Tensor) -> Tensor:
        """Return the copy in the frozen weight's precision."""
        return self.value.to(weight.dtype)


class TrainedWeights:
    """Replaces some of a module's weights by trainable substitutes, until `remove`.

    Args:
        root: module whose weights are replaced.
        names: of the weights, as in `root.state_dict()`.
        substitute: makes the substitute of a weight: a module whose `forward(frozen)` returns the weight to compute
            with, and whose parameters train. If it says `reads_frozen = False`, it reads only the precision of the
            frozen weight, which then waits on the CPU.

    Attributes:
        parameters: every parameter of every substitute, in order.
    """

    def __init__(
        self, root: nn.Module, names: Sequence[str], substitute: Callable[[Tensor], nn.Module] = Float32
    ) -> None:
        """Replace every weight; if a substitute cannot be made, those already in place are removed again."""
        self._root = root
        self._substitutes: dict[str, nn.Module] = {}
        # Each weight is replaced as soon as its substitute is made, so that only a single weight is on the GPU twice.
        try:
            for name in names:
                self._replace(name, substitute)
        except BaseException:
            self.remove()
            raise
        self.parameters = [p for substitute in self._substitutes.values() for p in substitute.parameters()]

    def _replace(self, name: str, substitute: Callable[[Tensor], nn.Module]) -> None:
        module, attribute = self._owner(name)
        frozen = getattr(module, attribute)
        self._device, stand_in = frozen.device, substitute(frozen)
        parametrize.register_parametrization(module, attribute, stand_in)
        self._substitutes[name] = stand_in
        if not getattr(stand_in, "reads_frozen", True):
            self._move_frozen(name, torch.device("cpu"))

    def _owner(self, name: str) -> tuple[nn.Module, str]:
        path, _, attribute = name.rpartition(".")
        return self._root.get_submodule(path), attribute

    def _move_frozen(self, name: str, device: torch.device) -> None:
        module, attribute = self._owner(name)
        frozen = module.get_parameter(f"parametrizations.{attribute}.original")
        frozen.data = frozen.data.to(device)

    def remove(self) -> None:
        """Put the frozen weights back, the same objects on the same device."""
        for name in self._substitutes:
            self._move_frozen(name, self._device)
            parametrize.remove_parametrizations(*self._owner(name), leave_parametrized=False)

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """Return copies of the weights with which the module computes, by name, on the CPU."""
        return {name: getattr(*self._owner(name)).detach().cpu().contiguous().clone() for name in self._substitutes}

    def state_dict(self) -> dict[str, Tensor]:
        """Return every parameter, not copied; the parameter `key` of the weight `name` is called "name/key"."""
        return {
            f"{name}/{key}": p.detach()
            for name, stand_in in self._substitutes.items()
            for key, p in stand_in.named_parameters()
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy every parameter from a state that `state_dict` returned.

        Raises:
            KeyError: a parameter is missing.
        """
        for name, stand_in in self._substitutes.items():
            for key, parameter in stand_in.named_parameters():
                parameter.copy_(state[f"{name}/{key}"])
