"""Custom Diffusion: keys and values of the U-Net's cross-attention, and a word (Kumari et al., 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from safetensors.torch import load_file, save_file
from torch import Generator, Tensor

from trainables.data.concept import Concept
from trainables.methods._prior import PriorSettings
from trainables.methods._weights import TrainedWeights
from trainables.methods._words import EMBEDDING_FILE, ConceptWord
from trainables.methods.base import Method
from trainables.models.base import BaseModel, denoiser_of
from trainables.sums import check_sums
from trainables.tensors import grouped, part
from trainables.types import JsonObject

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

WEIGHTS_FILE = "custom_diffusion.safetensors"


@dataclass(eq=False, kw_only=True)
class CustomDiffusion(Method):
    """Trains the matrices by which the U-Net reads text, and the placeholder's embedding.

    The defaults are the recipe that the paper's authors ran, except for the class images: the retrieval service that
    they used is gone, so the base model draws them. L_det knows neither the mask nor the class images.
    """

    trains: ClassVar[str] = "cross-attention K and V, a word"
    budget: ClassVar[int] = 500
    window: ClassVar[int] = 180
    threshold: ClassVar[float] = 0.15
    # diffusers' example is the same: it scales 1e-5 by the batch, and by two for the images of the class.
    recipes: ClassVar[Mapping[str, JsonObject]] = {"paper": {}, "diffusers": {}}

    learning_rate: float = 4e-5
    batch_size: int = 2
    templates: Sequence[str] = ("photo of a {}",)
    phrase: str = "{placeholder} {class_noun}"
    random_scale: bool = True
    max_grad_norm: float | None = 1.0
    prior: PriorSettings | None = field(default_factory=PriorSettings)

    @property
    def trains_text(self) -> bool:
        """True: the placeholder is in every caption of the concept."""
        return True

    @property
    def vectors_in_captions(self) -> int:
        """One."""
        return 1

    def attach(self, base: BaseModel, concept: Concept, generator: Generator) -> None:
        """Replace keys and values by trainable copies, and add the placeholder."""
        self._word = ConceptWord(base, concept, self.phrase_for(concept))
        self.undo_with(self._word.remove)
        self._weights = TrainedWeights(base.denoiser, base.text_projections())
        self.undo_with(self._weights.remove)

    def parameters(self) -> Sequence[Tensor]:
        """Return keys, values and the placeholder's embedding."""
        return [*self._weights.parameters, self._word.vectors]

    def export(self, folder: Path) -> None:
        """Write the U-Net's changed weights by its own names, in its precision, and `learned_embeds.safetensors`."""
        save_file(self._weights.weights(), folder / WEIGHTS_FILE)
        self._word.export(folder)

    @classmethod
    def load_into(cls, pipeline: "DiffusionPipeline", folder: Path) -> None:
        """Put the weights into the pipeline's U-Net, and the word into its text encoder.

        diffusers' own loader for this method loads nothing into a U-Net.

        Raises:
            ValueError: the U-Net lacks some of the weights.
        """
        check_sums(folder)
        loaded = denoiser_of(pipeline).load_state_dict(load_file(folder / WEIGHTS_FILE), strict=False)
        if loaded.unexpected_keys:
            raise ValueError(f"{folder / WEIGHTS_FILE} is of another model: it has no {loaded.unexpected_keys[0]}")
        pipeline.load_textual_inversion(folder / EMBEDDING_FILE)

    def state_dict(self) -> dict[str, Tensor]:
        """Return keys and values under "unet", and the vectors under "word", float32."""
        return grouped(unet=self._weights.state_dict(), word=self._word.state_dict())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy keys, values and vectors from a state that `state_dict` returned."""
        self._weights.load_state_dict(part(state, "unet"))
        self._word.load_state_dict(part(state, "word"))
