"""BaseModel: what training, methods, L_det and samples need of a text-to-image model, whatever its architecture."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Generator, Tensor, nn

from trainables.models.files import fingerprint

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, ModelMixin
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Conditioning:
    """What a denoiser reads of captions: opaque to everything but the model that made it.

    Attributes:
        tensors: by name, the first dimension of each being the batch; a Stable Diffusion has "states" alone, shape
            (batch, tokens, width), others add pooled states or sizes.
    """

    tensors: Mapping[str, Tensor]

    def rows(self, index: Tensor | list[int]) -> "Conditioning":
        """Return that of some of the captions."""
        return Conditioning({name: tensor[index] for name, tensor in self.tensors.items()})

    @staticmethod
    def cat(parts: Sequence["Conditioning"]) -> "Conditioning":
        """Return that of several batches, at least one, as one batch."""
        return Conditioning({name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].tensors})


class BaseModel(ABC):
    """A frozen text-to-image diffusion model on one device.

    A method changes it in place while it is attached: it may replace `tokenizer` and `text_encoder`, and put trainable
    weights into the modules. Methods name modules and weights by their role, so that one method serves every
    architecture that has the role.

    Attributes:
        tokenizer: turns captions into tokens.
        text_encoder: module that turns tokens into states.
        denoiser: module that predicts; a U-Net or a transformer.
        resolution: side of training images and samples in pixels.
        folder: where the model was loaded from.
        denoiser_name: what the model's pipelines call the denoiser, and so its folder in an export.
    """

    denoiser_name: ClassVar[str]

    tokenizer: "PreTrainedTokenizerBase"
    text_encoder: "PreTrainedModel"
    resolution: int
    folder: Path

    @property
    @abstractmethod
    def denoiser(self) -> "ModelMixin":
        """The module that predicts, with diffusers' own mixins."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the model is."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Precision of the frozen weights."""

    @property
    @abstractmethod
    def timesteps(self) -> int:
        """Number T of timesteps, which are 0..T-1."""

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the files that it was loaded from (see `trainables.models.files.fingerprint`)."""
        return fingerprint(self.folder)

    @abstractmethod
    def draw_timesteps(self, count: int, generator: Generator) -> Tensor:
        """Draw the timesteps of training inputs, independent of each other, shape (count,), int64, on the CPU."""

    @abstractmethod
    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """Return the captions as tokens, shape (batch, tokens), on the device.

        Raises:
            InvalidInput: a caption is longer than what the text encoder reads.
        """

    @abstractmethod
    def encode_text(self, input_ids_bl: Tensor) -> Conditioning:
        """Return what the denoiser reads of captions, in the model's precision."""

    @abstractmethod
    def encode_images(self, pixels_bchw: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the images' scaled latents, float32 on the CPU.

        Args:
            pixels_bchw: -1..1, shape (batch, 3, resolution, resolution).
        """

    @abstractmethod
    def corrupt(self, latents_bchw: Tensor, noise_bchw: Tensor, timesteps_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return noisy latents in the model's precision, and what it should predict of them in float32.

        Both lie on the device; the arguments on the CPU.
        """

    @abstractmethod
    def predict(self, noisy_latents_bchw: Tensor, timesteps_b: Tensor, conditioning: Conditioning) -> Tensor:
        """Return the denoiser's prediction, shape of the latents."""

    @abstractmethod
    def pipeline(self) -> "DiffusionPipeline":
        """Return a diffusers pipeline around these very modules, deterministic and without a safety checker."""

    # Roles of modules and weights. Names are those of the denoiser's own parameters and modules.

    @abstractmethod
    def attention_projections(self) -> Sequence[str]:
        """Return the endings of the names of attention's query, key, value and output layers, as peft takes them."""

    @abstractmethod
    def text_projections(self) -> Sequence[str]:
        """Return the names of the weights by which the denoiser reads text: keys and values of its cross-attention."""

    @abstractmethod
    def text_readers(self) -> Sequence[nn.Module]:
        """Return the modules that read the text's states, in order; each takes them as `encoder_hidden_states`."""

    @abstractmethod
    def save_adapter(self, folder: Path, layers: Mapping[str, Tensor]) -> None:
        """Write low-rank layers of the denoiser into `folder`, for `load_lora_weights` of the model's pipelines."""


def cross_attention(denoiser: nn.Module) -> list[nn.Module]:
    """Return the cross-attention layers of a denoiser, by diffusers' own name for them, in the order of its modules."""
    return [module for name, module in denoiser.named_modules() if name.endswith(".attn2")]


def denoiser_of(pipeline: "DiffusionPipeline") -> "ModelMixin":
    """Return the denoiser of a diffusers pipeline."""
    unet = getattr(pipeline, "unet", None)
    return pipeline.transformer if unet is None else unet
