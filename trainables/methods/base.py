"""Method: the interface of a personalization method, one file a method."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from trainables.base_model import BaseModel
from trainables.concept import Concept
from trainables.inputs import Inputs


class Method(ABC):
    """Makes some parameters of a base model trainable, and knows their loss and their export.

    A method is made with its settings alone, is attached to a base model for one concept, and leaves the base
    model as it found it when it is detached.

    Attributes:
        batch_size: inputs of a training step.
        templates: captions of training images, each with one `{}` for the placeholder.
        flip_probability: chance that a training image is mirrored, 0..1.
    """

    batch_size: int
    templates: Sequence[str]
    flip_probability: float

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """Return every setting that influences training, as plain JSON: part of a recording's key."""

    @abstractmethod
    def attach(self, base: BaseModel, concept: Concept) -> None:
        """Make the trainable parameters in `base` and freeze everything else.

        Raises:
            InvalidInput: the concept does not fit the base model (such as a placeholder that is a word already).
        """

    @abstractmethod
    def detach(self) -> None:
        """Undo `attach`: the base model is bit for bit what it was before."""

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return what trains, with its learning rates, in the form that `torch.optim` takes."""

    @abstractmethod
    def denoise(self, inputs: Inputs) -> Tensor:
        """Return the model's prediction for `inputs`, shape (batch, channels, height, width)."""

    @abstractmethod
    def loss(self, inputs: Inputs) -> Tensor:
        """Return the method's own stochastic objective for a training batch, a scalar in float32."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the files that diffusers itself loads into `folder`, which exists."""

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """Return what trains, exactly."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Set what trains to what `state_dict` returned."""
