"""StableDiffusion: the base models 1.x and 2.x, made of diffusers' own classes."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Generator, Tensor, nn

from trainables.errors import InvalidInput
from trainables.models.base import BaseModel, Conditioning, cross_attention
from trainables.models.files import check_folder
from trainables.models.quiet import quiet_libraries
from trainables.settings import BaseModelSettings

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

STATES = "states"


@dataclass
class CaptionReader:
    """Turns captions into tokens as a Stable Diffusion pipeline does.

    Attributes:
        tokenizer: CLIP's.
    """

    tokenizer: "CLIPTokenizer"

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """Return the captions' token ids, padded to the tokenizer's length: shape (batch, tokens), on the CPU.

        Raises:
            InvalidInput: a caption has more tokens than the text encoder reads.
        """
        length = self.tokenizer.model_max_length
        written = [self._written_out(caption) for caption in captions]
        rows = self.tokenizer(written, padding="max_length", max_length=length)["input_ids"]
        for caption, row in zip(captions, rows, strict=True):
            if len(row) > length:
                raise InvalidInput(
                    f"the caption {caption!r} has {len(row)} tokens, and the text encoder reads {length}; choose a "
                    "shorter template, validation prompt or phrase, or fewer vectors (num_vectors)"
                )
        return torch.tensor(rows)

    def _written_out(self, caption: str) -> str:
        """Write out words with several vectors, exactly as `TextualInversionLoaderMixin.maybe_convert_prompt` does.

        Its import takes a driver that only checks captions as long as everything else together.
        """
        added = self.tokenizer.added_tokens_encoder
        for token in dict.fromkeys(self.tokenizer.tokenize(caption)):
            if token in added:
                numbered = (f"{token}_{number}" for number in itertools.count(1))
                vectors = (token, *itertools.takewhile(added.__contains__, numbered))
                caption = caption.replace(token, " ".join(vectors))
        return caption


@dataclass(eq=False)
class StableDiffusion(BaseModel):
    """The parts of a Stable Diffusion 1.x or 2.x, frozen, on a single device.

    Attributes:
        tokenizer: CLIP's; an attached method may replace it.
        text_encoder, vae, unet: transformers' and diffusers' modules, in evaluation mode, without gradients.
        schedule: the noise schedule of training (DDPM).
        resolution: side of training images and samples in pixels.
        folder: where the model was loaded from.
    """

    denoiser_name: ClassVar[str] = "unet"

    tokenizer: "CLIPTokenizer"
    text_encoder: "CLIPTextModel"
    vae: "AutoencoderKL"
    unet: "UNet2DConditionModel"
    schedule: "DDPMScheduler"
    resolution: int
    folder: Path

    @property
    def denoiser(self) -> "UNet2DConditionModel":
        """The U-Net, which predicts noise or velocity."""
        return self.unet

    @property
    def device(self) -> torch.device:
        """Device of the modules, read off the VAE."""
        return torch.device(self.vae.device)  # no method trains the VAE, while parts of the U-Net may wait on the CPU

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the frozen weights, read off the VAE, which no method trains."""
        dtype = self.vae.dtype
        assert isinstance(dtype, torch.dtype)
        return dtype

    @property
    def timesteps(self) -> int:
        """Length T of the noise schedule; timesteps are 0..T-1."""
        return int(self.schedule.config.num_train_timesteps)

    def draw_timesteps(self, count: int, generator: Generator) -> Tensor:
        """Draw timesteps uniformly, shape (count,), int64, on the CPU."""
        return torch.randint(self.timesteps, (count,), generator=generator)

    @torch.no_grad()
    def encode_images(self, pixels_bchw: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the VAE's scaled latents, float32 on the CPU."""
        means, stds = [], []
        for pixels in pixels_bchw[:, None]:  # singly: at 512 px, the encoder's activations are the peak of memory
            posterior = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist
            means.append(posterior.mean.float().cpu())
            stds.append(posterior.std.float().cpu())
        scale, shift = self.vae.config.scaling_factor, self.vae.config.shift_factor or 0.0
        return (torch.cat(means) - shift) * scale, torch.cat(stds) * scale

    def corrupt(self, latents_bchw: Tensor, noise_bchw: Tensor, timesteps_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return z_t in the model's precision, and its noise or velocity in float32, both on the device."""
        noisy = self.schedule.add_noise(latents_bchw, noise_bchw, timesteps_b)
        match self.schedule.config.prediction_type:
            case "epsilon":
                target = noise_bchw
            case "v_prediction":
                target = self.schedule.get_velocity(latents_bchw, noise_bchw, timesteps_b)
            case other:
                raise InvalidInput(f"prediction type {other!r} is not supported; available: epsilon, v_prediction")
        return noisy.to(self.device, self.dtype), target.to(self.device)

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """Return the captions' token ids, padded to the tokenizer's length: shape (batch, tokens), on the device.

        A word with several vectors, named as `load_textual_inversion` names them, is written out as in any pipeline.

        Raises:
            InvalidInput: a caption has more tokens than the text encoder reads.
        """
        return CaptionReader(self.tokenizer).tokenize(captions).to(self.device)

    def encode_text(self, input_ids_bl: Tensor) -> Conditioning:
        """Return the text encoder's last states, shape (batch, tokens, width), in the model's precision."""
        return Conditioning({STATES: self.text_encoder(input_ids_bl)[0]})

    def predict(self, noisy_latents_bchw: Tensor, timesteps_b: Tensor, conditioning: Conditioning) -> Tensor:
        """Return the U-Net's prediction, shape of the latents."""
        states_bld = conditioning.tensors[STATES]
        prediction = self.unet(noisy_latents_bchw, timesteps_b, encoder_hidden_states=states_bld).sample
        assert isinstance(prediction, Tensor)
        return prediction

    def pipeline(self) -> "StableDiffusionPipeline":
        """Return a diffusers pipeline around these same parts, with a DDIM sampler and without a safety checker."""
        from diffusers import DDIMScheduler, StableDiffusionPipeline

        pipeline = StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=DDIMScheduler.from_config(self.schedule.config),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def attention_projections(self) -> Sequence[str]:
        """Return the endings of the names of self- and cross-attention's linear layers."""
        return ("to_q", "to_k", "to_v", "to_out.0")

    def text_projections(self) -> Sequence[str]:
        """Return the names of the cross-attention's key and value weights."""
        return [name for name in self.unet.state_dict() if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))]

    def text_readers(self) -> Sequence[nn.Module]:
        """Return the cross-attention layers, in the order in which the U-Net holds them."""
        return cross_attention(self.unet)

    def save_adapter(self, folder: Path, layers: Mapping[str, Tensor]) -> None:
        """Write `pytorch_lora_weights.safetensors`, under the names of a Stable Diffusion pipeline's U-Net."""
        from diffusers import StableDiffusionPipeline

        StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=dict(layers))


def load(folder: Path, settings: BaseModelSettings, device: torch.device | str = "cpu") -> StableDiffusion:
    """Load a pipeline's folder by diffusers' and transformers' own loaders; only safetensors are read.

    Args:
        folder: in diffusers' format.
        settings: precision and resolution; `id` and `revision` are not looked at.
        device: where the modules go.

    Raises:
        InvalidInput: a component is missing, damaged, or of a class that is not Stable Diffusion 1.x or 2.x.
    """
    quiet_libraries()
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel

    check_folder(folder)
    dtype = getattr(torch, settings.dtype)
    weights = {"use_safetensors": True, "local_files_only": True}
    try:
        base = StableDiffusion(
            tokenizer=load_tokenizer(folder).tokenizer,
            text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype, **weights),
            vae=AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype, **weights),
            unet=UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype, **weights),
            schedule=DDPMScheduler.from_pretrained(folder / "scheduler", local_files_only=True),
            resolution=settings.resolution,
            folder=folder,
        )
    except InvalidInput:
        raise
    except Exception as error:  # the loaders raise many kinds, all of which mean that the folder is unusable
        raise InvalidInput(f"base model {folder} cannot be loaded: {error}") from error
    for module in (base.text_encoder, base.vae, base.unet):
        module.to(device).eval().requires_grad_(False)
    return base


def load_tokenizer(folder: Path) -> CaptionReader:
    """Load what reads the captions of a pipeline's folder, and no network.

    Raises:
        InvalidInput: it is missing or damaged.
    """
    from transformers import CLIPTokenizer

    try:
        return CaptionReader(CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True))
    except Exception as error:  # as in `load`
        raise InvalidInput(f"base model {folder} cannot be loaded: {error}") from error
