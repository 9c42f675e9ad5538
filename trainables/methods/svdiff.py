"""SVDiff: only the singular values of the U-Net's weights train (Han et al., 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from trainables.data.concept import Concept
from trainables.methods._weights import TrainedWeights
from trainables.methods.base import Method
from trainables.models.base import BaseModel, denoiser_of
from trainables.sums import check_sums
from trainables.types import JsonObject

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

SHIFTS_FILE = "spectral_shifts.safetensors"
SHIFT = "/shift"  # what `TrainedWeights` appends to the name of a weight


class SpectralShift(nn.Module):
    """A weight as a matrix of output channels by everything else, whose singular values are shifted.

    The decomposition of the frozen weight is kept in the weight's own precision; the shift is added as a change, so
    that a shift of zero gives the frozen weight bit for bit.
    """

    def __init__(self, weight: Tensor) -> None:
        """Decompose the weight, and start from a shift of zero."""
        super().__init__()
        # In double precision: in single precision, CUDA's Jacobi method leaves errors of 4e-4, which would mix
        # neighbouring singular vectors differently on every device, and an export holds shifts by their index alone.
        matrix = weight.detach().flatten(1).double()
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        self.shift = nn.Parameter(torch.zeros_like(values, dtype=torch.float32))
        self.register_buffer("left", left.to(weight.dtype))
        self.register_buffer("values", values.float())
        self.register_buffer("right", right.to(weight.dtype))

    def change(self) -> Tensor:
        """Return the change of the weight, as a matrix; no singular value falls below zero (equation 3)."""
        assert isinstance(self.left, Tensor)
        assert isinstance(self.values, Tensor)
        assert isinstance(self.right, Tensor)
        change = (F.relu(self.values + self.shift) - self.values).to(self.left.dtype)
        return (self.left * change) @ self.right

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with its singular values shifted."""
        return weight + self.change().view_as(weight)


def _matrices(denoiser: nn.Module) -> list[str]:
    """Return the names of all linear and convolutional weights."""
    return [name for name, parameter in denoiser.named_parameters() if name.endswith(".weight") and parameter.dim() > 1]


@dataclass(eq=False, kw_only=True)
class SVDiff(Method):
    """Shifts the singular values of every linear and convolutional weight of the U-Net.

    The normalizations' vectors, which the original treats as matrices of a single column, stay frozen, like the text
    encoder. The recipe `prior` adds images of the class, as the original does.
    """

    trains: ClassVar[str] = "singular values of the U-Net"
    budget: ClassVar[int] = 500
    window: ClassVar[int] = 220
    threshold: ClassVar[float] = 0.40
    recipes: ClassVar[Mapping[str, JsonObject]] = {"plain": {}, "prior": {"prior": {}}}

    learning_rate: float = 1e-3
    templates: Sequence[str] = ("a photo of {}",)
    phrase: str = "sks {class_noun}"
    flip_probability: float = 0.0
    random_crop: bool = True
    max_grad_norm: float | None = 1.0

    @property
    def trains_text(self) -> bool:
        """False: only the U-Net changes."""
        return False

    def attach(self, base: BaseModel, concept: Concept, generator: Generator) -> None:
        """Decompose every matrix, and give it a shift of zero."""
        self._dtype = base.dtype
        self._weights = TrainedWeights(base.denoiser, _matrices(base.denoiser), SpectralShift)
        self.undo_with(self._weights.remove)

    def parameters(self) -> Sequence[Tensor]:
        """Return the shifts, one vector per matrix."""
        return self._weights.parameters

    def export(self, folder: Path) -> None:
        """Write the shifts, one vector per matrix, and the precision in which the matrices were decomposed."""
        shifts = {name.removesuffix(SHIFT): value.cpu().clone() for name, value in self._weights.state_dict().items()}
        save_file(shifts, folder / SHIFTS_FILE, metadata={"dtype": str(self._dtype).removeprefix("torch.")})

    @classmethod
    @torch.no_grad()
    def load_into(cls, pipeline: "DiffusionPipeline", folder: Path) -> None:
        """Change the pipeline's weights, which are decomposed in the training's precision rather than in their own.

        Raises:
            ValueError: the U-Net's weights are not those that were trained, or it already carries an adapter.
        """
        check_sums(folder)
        with safe_open(folder / SHIFTS_FILE, "pt") as file:
            dtype = getattr(torch, file.metadata()["dtype"])
        shifts, weights = load_file(folder / SHIFTS_FILE), dict(denoiser_of(pipeline).named_parameters())
        names = _matrices(denoiser_of(pipeline))
        if shifts.keys() != {*names}:
            name = sorted(shifts.keys() ^ {*names})[0]
            raise ValueError(
                f"{folder / SHIFTS_FILE} is of another U-Net, or this one carries an adapter: they differ in {name}"
            )
        for name in names:
            weight = weights[name]
            shifted = SpectralShift(weight.to(dtype))
            shifted.shift.copy_(shifts[name])
            weight.add_(shifted.change().view_as(weight))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the shifts by the names of their weights, float32."""
        return self._weights.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy the shifts from a state that `state_dict` returned."""
        self._weights.load_state_dict(state)
