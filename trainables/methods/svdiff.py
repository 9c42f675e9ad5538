"""SVDiff: only the singular values of the U-Net's weights train (Han et al., 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.base_model import BaseModel
from trainables.concept import Concept
from trainables.methods.base import Method
from trainables.weights import TrainedWeights

SHIFTS_FILE = "spectral_shifts.safetensors"


class SpectralShift(nn.Module):
    """A weight as a matrix of output channels by everything else, whose singular values are shifted.

    The decomposition of the frozen weight is kept in the weight's own precision; the shift is added as a change, so
    that a shift of zero gives the frozen weight bit for bit.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        left, values, right = torch.linalg.svd(weight.detach().flatten(1).float(), full_matrices=False)
        self.shift = nn.Parameter(torch.zeros_like(values))
        self.register_buffer("left", left.to(weight.dtype))
        self.register_buffer("values", values)
        self.register_buffer("right", right.to(weight.dtype))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with its singular values shifted, none below zero (Han et al., equation 3)."""
        assert isinstance(self.left, Tensor)
        assert isinstance(self.values, Tensor)
        assert isinstance(self.right, Tensor)
        change = (F.relu(self.values + self.shift) - self.values).to(weight.dtype)
        return weight + ((self.left * change) @ self.right).view_as(weight)


def _matrices(unet: nn.Module) -> list[str]:
    """Return the names of every linear and convolutional weight."""
    return [name for name, parameter in unet.named_parameters() if name.endswith(".weight") and parameter.dim() > 1]


@dataclass(eq=False, kw_only=True)
class SVDiff(Method):
    """Shifts the singular values of every linear and convolutional weight of the U-Net.

    Vectors of the normalizations, which the original treats as matrices of one column, stay as they are.
    """

    trains: ClassVar[str] = "singular values of the U-Net"
    budget: ClassVar[int] = 1000
    window: ClassVar[int] = 440
    threshold: ClassVar[float] = 0.40
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"original": {}}

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

    def attach(self, base: BaseModel, concept: Concept) -> None:
        """Decompose every matrix, and put shifts of zero in front."""
        self._weights = TrainedWeights(base.unet, _matrices(base.unet), SpectralShift)

    def detach(self) -> None:
        """Take the shifts away."""
        self._weights.remove()

    def parameters(self) -> Sequence[Tensor]:
        """Return the shifts."""
        return self._weights.parameters

    def export(self, folder: Path) -> None:
        """Write the shifts, a vector for every matrix."""
        shifts = {name: value.cpu().clone() for name, value in self._weights.state_dict().items()}
        save_file(shifts, folder / SHIFTS_FILE)

    @classmethod
    def load_into(cls, pipeline: Any, folder: Path) -> None:
        """Decompose the pipeline's weights and put the shifts in front of them."""
        weights = TrainedWeights(pipeline.unet, _matrices(pipeline.unet), SpectralShift)
        weights.load_state_dict(load_file(folder / SHIFTS_FILE))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the shifts, float32."""
        return self._weights.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Set the shifts."""
        self._weights.load_state_dict(state)
