"""BaseModel: what training, methods, L_det and samples need from a text-to-image model, whatever its architecture."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import Generator, Tensor, nn

from trainables.models.files import fingerprint

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, ModelMixin
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Conditioning:
    """Encoded captions as a denoiser reads them: opaque to everything but the model that made them.

    Attributes:
        tensors: by name; the first dimension of each is the batch. Stable Diffusion has only "states", shape
            (batch, tokens, width); other architectures add pooled states or sizes.
    """

    tensors: Mapping[str, Tensor]

    def rows(self, index: Tensor | list[int]) -> "Conditioning":
        """Return the conditioning of the captions at `index`, in its order."""
        return Conditioning({name: tensor[index] for name, tensor in self.tensors.items()})

    @staticmethod
    def cat(parts: Sequence["Conditioning"]) -> "Conditioning":
        """Concatenate the conditionings of several batches, at least 1, whose tensors have the same names."""
        return Conditioning({name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].tensors})


class ReadsCaptions(Protocol):
    """What turns captions into tokens: a base model, or its tokenizer without the networks."""

    tokenizer: "PreTrainedTokenizerBase"

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """Return the captions' token ids, shape (batch, tokens); see `BaseModel.tokenize`."""


class BaseModel(ABC):
    """A frozen text-to-image diffusion model on a single device.

    A method changes it in place while it is attached: it may replace `tokenizer` and `text_encoder`, and put trainable
    weights into the modules. Methods name modules and weights by their role, so that a method serves every
    architecture that has the role.

    Attributes:
        tokenizer: turns captions into tokens.
        text_encoder: module that turns tokens into states.
        denoiser: module that predicts; a U-Net or a transformer.
        resolution: side of training images and samples in pixels.
        folder: where the model was loaded from.
        denoiser_name: what the model's pipelines call the denoiser, which is also its folder in an export.
    """

    denoiser_name: ClassVar[str]

    tokenizer: "PreTrainedTokenizerBase"
    text_encoder: "PreTrainedModel"
    resolution: int
    folder: Path

    @property
    @abstractmethod
    def denoiser(self) -> "ModelMixin":
        """The module that predicts: a U-Net or a transformer, with diffusers' own mixins."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Device of the modules, and of everything that `predict` takes."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Precision of the frozen weights and of noisy latents; what trains is float32."""

    @property
    @abstractmethod
    def timesteps(self) -> int:
        """Number T of timesteps; they are 0..T-1."""

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the files from which the model was loaded (see `trainables.models.files.fingerprint`)."""
        return fingerprint(self.folder)

    @abstractmethod
    def draw_timesteps(self, count: int, generator: Generator) -> Tensor:
        """Draw the timesteps of training inputs, independent of each other, shape (count,), int64, on the CPU."""

    @abstractmethod
    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """Return the captions' token ids, shape (batch, tokens), on the device.

        Raises:
            InvalidInput: a caption has more tokens than the text encoder reads.
        """

    @abstractmethod
    def encode_text(self, input_ids_bl: Tensor) -> Conditioning:
        """Encode token ids into what the denoiser reads, in the model's precision; gradients flow back to the words."""

    @abstractmethod
    def encode_images(self, pixels_bchw: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the images' scaled latents, float32 on the CPU.

        Args:
            pixels_bchw: -1..1, shape (batch, 3, resolution, resolution).
        """

    @abstractmethod
    def corrupt(self, latents_bchw: Tensor, noise_bchw: Tensor, timesteps_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return noisy latents in the model's precision, and what it should predict from them in float32.

        Both are on the device; the arguments are on the CPU.
        """

    @abstractmethod
    def predict(self, noisy_latents_bchw: Tensor, timesteps_b: Tensor, conditioning: Conditioning) -> Tensor:
        """Return the denoiser's prediction, shape of the latents."""

    @abstractmethod
    def pipeline(self) -> "DiffusionPipeline":
        """Return a diffusers pipeline around these same modules, deterministic and without a safety checker."""

    # Roles of modules and weights. Names are those of the denoiser's own parameters and modules.

    @abstractmethod
    def attention_projections(self) -> Sequence[str]:
        """Return the endings of the names of attention's query, key, value and output layers, as peft takes them."""

    @abstractmethod
    def text_projections(self) -> Sequence[str]:
        """Return the names of the weights by which the denoiser reads text: keys and values of its cross-attention."""

    @abstractmethod
    def text_readers(self) -> Sequence[nn.Module]:
        """Return the modules that read the text's states, in a fixed order; each takes `encoder_hidden_states`."""

    @abstractmethod
    def save_adapter(self, folder: Path, layers: Mapping[str, Tensor]) -> None:
        """Write low-rank layers of the denoiser into `folder`, for `load_lora_weights` of the model's pipelines.

        Args:
            folder: which exists.
            layers: factors by diffusers' names for them, on the CPU.
        """


def cross_attention(denoiser: nn.Module) -> list[nn.Module]:
    """Return the cross-attention layers of a denoiser, by diffusers' own name for them, in the order of its modules."""
    return [module for name, module in denoiser.named_modules() if name.endswith(".attn2")]


def denoiser_of(pipeline: "DiffusionPipeline") -> "ModelMixin":
    """Return the denoiser of a diffusers pipeline: its U-Net, or its transformer if it has no U-Net."""
    unet = getattr(pipeline, "unet", None)
    return pipeline.transformer if unet is None else unet
