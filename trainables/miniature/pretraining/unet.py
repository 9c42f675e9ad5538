"""The U-Net: noise prediction in the VAE's latents, conditioned on the frozen text encoder."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.miniature.models import Sizes, make_scheduler, make_tokenizer, make_unet
from trainables.miniature.pretraining.data import WORDINGS, Data
from trainables.miniature.pretraining.loop import Task

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

UNCONDITIONED = 0.1  # share of inputs with an empty caption, for classifier-free guidance


class UnetTask(Task):
    """Trains diffusers' `UNet2DConditionModel`.

    Args:
        sizes: of the network.
        data: the images' captions.
        latents: mean and standard deviation of every image's scaled latents, shape (images, channels, 16, 16) each.
        text_encoder: the trained text encoder, on the device; it is frozen here.
        device: where to train.
    """

    network: "UNet2DConditionModel"
    is_compiled = True

    def __init__(
        self, sizes: Sizes, data: Data, latents: tuple[Tensor, Tensor], text_encoder: nn.Module, device: torch.device
    ) -> None:
        self.network = make_unet(sizes).to(device, memory_format=torch.channels_last).train()
        self._tokens, (self._mean, self._std) = data.tokens_bkl[:, WORDINGS], latents
        self._text_encoder, self._device = text_encoder.requires_grad_(False), device
        empty = make_tokenizer()("", padding="max_length")["input_ids"]
        self._empty = torch.tensor(empty, device=device)
        self._alphas = make_scheduler().alphas_cumprod.to(device)

    def draw(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw latents, timesteps, noise and a true caption each, empty for a tenth."""
        options = {"generator": generator, "device": self._device}
        chosen = torch.randint(len(self._mean), (size,), **options)  # type: ignore[call-overload]
        mean, std = self._mean[chosen].float(), self._std[chosen].float()
        wording = torch.randint(self._tokens.shape[1], (size, 1, 1), **options)  # type: ignore[call-overload]
        tokens = self._tokens[chosen].gather(1, wording.expand(-1, 1, self._tokens.shape[-1]))[:, 0].long()
        is_free = torch.rand(size, 1, **options) < UNCONDITIONED  # type: ignore[call-overload]
        return {
            "latents": mean + std * torch.randn(mean.shape, **options),  # type: ignore[call-overload]
            "tokens": torch.where(is_free, self._empty, tokens),
            "timesteps": torch.randint(len(self._alphas), (size,), **options),  # type: ignore[call-overload]
            "noise": torch.randn(mean.shape, **options),  # type: ignore[call-overload]
        }

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean squared error of the predicted noise, as Stable Diffusion is trained."""
        with torch.no_grad():
            states = self._text_encoder(batch["tokens"])[0]
        signal = self._alphas[batch["timesteps"]].view(-1, 1, 1, 1)
        noisy = signal.sqrt() * batch["latents"] + (1 - signal).sqrt() * batch["noise"]
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        predicted = self.network(noisy, batch["timesteps"], encoder_hidden_states=states).sample
        return F.mse_loss(predicted.float(), batch["noise"])
