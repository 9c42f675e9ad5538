"""Method: the interface of a personalization method; every method is a file of its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from torch import Generator, Tensor

from trainables.checks import check_at_most, check_types
from trainables.data.concept import Concept
from trainables.data.inputs import Augmentation, Inputs, denoising_loss, predict
from trainables.data.prompts import OBJECT_TEMPLATES, has_one_gap
from trainables.errors import InvalidInput
from trainables.methods._prior import PriorSettings
from trainables.models.base import BaseModel
from trainables.settings import MAX_COUNT
from trainables.types import JsonDict, JsonObject

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


@dataclass(eq=False, kw_only=True)
class Method(ABC):
    """Makes some parameters of a base model trainable, and knows their loss and their export.

    A method is constructed from its settings alone, the fields of its dataclass. It is attached to a base model for a
    single concept, and leaves the base model unchanged when it is detached. Every method has the settings below;
    a subclass adds its own.

    Attributes:
        learning_rate: of AdamW, positive.
        weight_decay: of AdamW, not negative.
        batch_size: inputs per step.
        micro_batch: inputs that go through the model at once. Gradients are accumulated over the batch, and are those
            of the whole batch. It divides the batch size; None takes the whole batch.
        templates: captions of training images, each with a single `{}`, where the phrase goes.
        phrase: what stands for the concept in captions and prompts, made of `{placeholder}` and `{class_noun}`.
        flip_probability: chance that an image is mirrored, 0..1.
        random_crop: whether a random square is cropped from an image, rather than the central square.
        random_scale: whether images are shrunk and magnified, with captions that say so, and the loss is confined to
            them (Kumari et al., 2023).
        max_grad_norm: limit to which the norm of the gradient is clipped; None does not clip.
        prior: generated images of the class, whose loss is added (Ruiz et al., 2023); None leaves them out.
    """

    trains: ClassVar[str]
    """What trains, in a few words, for tables."""
    budget: ClassVar[int] = 1000
    """The usual number of optimizer steps."""
    window: ClassVar[int] = 100
    """DVAR's N for that budget."""
    threshold: ClassVar[float] = 0.15
    """DVAR's alpha."""
    recipes: ClassVar[Mapping[str, JsonObject]] = {}
    """Named settings; what a recipe leaves out keeps its default."""
    has_small_export: ClassVar[bool] = True
    """Whether the export is kept with every snapshot, rather than only at the end."""

    learning_rate: float
    weight_decay: float = 1e-2
    batch_size: int = 1
    micro_batch: int | None = None
    templates: Sequence[str] = OBJECT_TEMPLATES
    phrase: str = "{placeholder}"
    flip_probability: float = 0.5
    random_crop: bool = False
    random_scale: bool = False
    max_grad_norm: float | None = None
    prior: PriorSettings | None = None

    def __post_init__(self) -> None:
        """Check the settings, and make `PriorSettings` of a mapping.

        Raises:
            InvalidInput: a setting has the wrong type, or is out of its range.
        """
        if isinstance(self.prior, Mapping):  # from an experiment's file
            self.prior = PriorSettings.from_mapping(self.prior)
        if self.prior is not None and not isinstance(self.prior, PriorSettings):
            raise InvalidInput(f"prior must be its settings, {{}} for the usual ones, or null, got {self.prior!r}")
        check_types(self)
        if not self.learning_rate > 0:
            raise InvalidInput(f"learning_rate must be positive, got {self.learning_rate}")
        if not self.weight_decay >= 0:
            raise InvalidInput(f"weight_decay must not be negative, got {self.weight_decay}")
        if self.batch_size < 1:
            raise InvalidInput(f"batch_size must be at least 1, got {self.batch_size}")
        check_at_most(self, batch_size=MAX_COUNT)
        if self.micro_batch is not None and (self.micro_batch < 1 or self.batch_size % self.micro_batch):
            raise InvalidInput(f"micro_batch must divide batch_size {self.batch_size}, got {self.micro_batch}")
        if not 0 <= self.flip_probability <= 1:
            raise InvalidInput(f"flip_probability must lie between 0 and 1, got {self.flip_probability}")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise InvalidInput(f"max_grad_norm must be positive, got {self.max_grad_norm}; null does not clip")
        if not self.templates or not all(map(has_one_gap, self.templates)):
            raise InvalidInput(f"templates must be captions with exactly one {{}} each, got {list(self.templates)}")
        try:
            self.phrase.format(placeholder="", class_noun="")
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            allowed = "{placeholder} and {class_noun}"
            raise InvalidInput(f"phrase {self.phrase!r} is not understood; it may hold {allowed}") from error

    def settings(self) -> JsonObject:
        """Return every setting as plain JSON, from which `MethodSpec` makes the same method again."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        prior = self.prior.as_mapping() if self.prior else None
        return values | {"templates": list(self.templates), "prior": prior}

    def phrase_for(self, concept: Concept) -> str:
        """Return what stands for a concept in captions and prompts."""
        return self.phrase.format(placeholder=concept.placeholder, class_noun=concept.class_noun)

    @property
    def vectors_in_captions(self) -> int:
        """How many vectors of the placeholder a caption holds where it stands; 0 for a method that learns no word."""
        return 0

    @property
    def augmentation(self) -> Augmentation:
        """How an image is varied before it is encoded."""
        return Augmentation(self.flip_probability, self.random_crop, self.random_scale)

    @property
    @abstractmethod
    def trains_text(self) -> bool:
        """Whether the captions' conditioning changes in training; otherwise each caption is encoded once."""

    @abstractmethod
    def attach(self, base: BaseModel, concept: Concept, generator: Generator) -> None:
        """Make the trainable parameters in `base`, and leave everything else frozen.

        Each change is followed by `self.undo_with(...)`, so that `detach` undoes it, even when a later change fails.

        Args:
            base: to change.
            concept: to learn.
            generator: of initial values that are random.

        Raises:
            InvalidInput: the concept does not fit the base model (such as a placeholder that is already a word).
        """

    def undo_with(self, undo: Callable[[], object]) -> None:
        """Have `detach` call a function; functions are called in reverse order."""
        self._changes.callback(undo)

    def detach(self) -> None:
        """Undo `attach`, whether complete or broken off: the base model is bit for bit what it was before."""
        self._changes.close()

    @cached_property
    def _changes(self) -> ExitStack:
        return ExitStack()

    @abstractmethod
    def parameters(self) -> Sequence[Tensor]:
        """Return the tensors that train, float32, on the model's device."""

    def parameter_groups(self) -> list[JsonDict]:
        """Return what trains, with its learning rate and weight decay, in the form that `torch.optim` takes."""
        return [{"params": [*self.parameters()], "lr": self.learning_rate, "weight_decay": self.weight_decay}]

    def predict(self, base: BaseModel, inputs: Inputs) -> Tensor:
        """Return the prediction for `inputs`, shape (batch, channels, height, width); L_det and the loss rest on it."""
        return predict(base, inputs)

    def loss(self, base: BaseModel, inputs: Inputs) -> Tensor:
        """Return the method's own stochastic objective for a training batch, a scalar in float32."""
        return denoising_loss(self.predict(base, inputs), inputs, self.prior.weight if self.prior else 0.0)

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write what was learned into `folder`, which exists, for `load_into` and, where possible, other programs."""

    @classmethod
    @abstractmethod
    def load_into(cls, pipeline: "DiffusionPipeline", folder: Path) -> None:
        """Load an export into a diffusers pipeline of the same base model, after `check_sums` has found it sound."""

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """Return the exact values of what trains, not copied."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy the values of what trains from a state that `state_dict` returned."""
