"""DreamBooth: the whole U-Net, and optionally the text encoder (Ruiz et al., 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from safetensors.torch import load_file, save_file
from torch import Generator, Tensor

from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.methods._weights import TrainedWeights
from trainables.methods.base import Method
from trainables.models.base import BaseModel
from trainables.sums import check_sums
from trainables.tensors import grouped, part
from trainables.types import JsonObject

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

TEXT_ENCODER, CONFIG = "text_encoder", "config.json"
DENOISER_WEIGHTS, TEXT_ENCODER_WEIGHTS = "diffusion_pytorch_model.safetensors", "model.safetensors"


@dataclass(eq=False, kw_only=True)
class DreamBooth(Method):
    """Trains a float32 copy of every weight of the U-Net; a rare word and the class noun name the concept.

    The defaults are those of diffusers' example, which uses no class images unless asked for; the paper of the method
    uses 200 with weight 1: `prior: {}`.

    Attributes:
        trains_text_encoder: whether the text encoder trains too.
    """

    trains: ClassVar[str] = "the whole U-Net"
    budget: ClassVar[int] = 1000
    window: ClassVar[int] = 440
    threshold: ClassVar[float] = 0.40
    recipes: ClassVar[Mapping[str, JsonObject]] = {"diffusers": {}, "prior": {"prior": {}}}
    has_small_export: ClassVar[bool] = False

    learning_rate: float = 5e-6
    templates: Sequence[str] = ("a photo of {}",)
    phrase: str = "sks {class_noun}"
    flip_probability: float = 0.0
    random_crop: bool = True
    max_grad_norm: float | None = 1.0
    trains_text_encoder: bool = False

    @property
    def trains_text(self) -> bool:
        """Whether the text encoder trains, which changes what every caption means."""
        return self.trains_text_encoder

    def attach(self, base: BaseModel, concept: Concept, generator: Generator) -> None:
        """Replace every weight by a trainable copy in float32; on a GPU, the frozen weights move to the CPU."""
        self._modules = {base.denoiser_name: base.denoiser}
        if self.trains_text_encoder:
            self._modules[TEXT_ENCODER] = base.text_encoder
        self._weights = {}
        for name, module in self._modules.items():
            self._weights[name] = TrainedWeights(module, [key for key, _ in module.named_parameters()])
            self.undo_with(self._weights[name].remove)

    def parameters(self) -> Sequence[Tensor]:
        """Return the float32 copies, the U-Net's first."""
        return [parameter for weights in self._weights.values() for parameter in weights.parameters]

    def export(self, folder: Path) -> None:
        """Write the denoiser's folder (and `text_encoder/`) in diffusers' format, in the base model's precision."""
        for name, weights in self._weights.items():
            (folder / name).mkdir()
            save_file(weights.weights(), folder / name / _weights_file(name), metadata={"format": "pt"})
            config = self._modules[name].config
            text = (
                config.to_json_string() if hasattr(config, "to_json_string") else self._modules[name].to_json_string()
            )
            (folder / name / CONFIG).write_text(text, encoding="utf-8")

    @classmethod
    def load_into(cls, pipeline: "DiffusionPipeline", folder: Path) -> None:
        """Put the weights into the pipeline; `UNet2DConditionModel.from_pretrained(folder / "unet")` can, too.

        Raises:
            InvalidInput: the folder holds no weights.
        """
        check_sums(folder)
        paths = [
            path for path in sorted(folder.glob("*/*.safetensors")) if path.name == _weights_file(path.parent.name)
        ]
        if not paths:
            raise InvalidInput(f"{folder} holds no weights of DreamBooth; give the folder that `dvar run` printed")
        for path in paths:
            getattr(pipeline, path.parent.name).load_state_dict(load_file(path))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the copies under "unet" and "text_encoder", float32."""
        return grouped(**{name: weights.state_dict() for name, weights in self._weights.items()})

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy every weight that trains from a state that `state_dict` returned."""
        for name, weights in self._weights.items():
            weights.load_state_dict(part(state, name))


def _weights_file(component: str) -> str:
    return TEXT_ENCODER_WEIGHTS if component == TEXT_ENCODER else DENOISER_WEIGHTS
