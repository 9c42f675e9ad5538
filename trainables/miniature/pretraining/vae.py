"""The VAE: reconstruction of colours and edges, with a slight pull of the latents towards a unit Gaussian."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.miniature.models import Sizes, make_vae
from trainables.miniature.pretraining.data import Data
from trainables.miniature.pretraining.loop import Task

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

EDGES, KL = 0.5, 3e-5


class VaeTask(Task):
    """Trains diffusers' `AutoencoderKL` to reconstruct the images."""

    network: "AutoencoderKL"
    is_compiled = True

    def __init__(self, sizes: Sizes, data: Data, device: torch.device) -> None:
        self.network = make_vae(sizes).to(device, memory_format=torch.channels_last).train()
        self._data, self._device, self._channels = data, device, sizes.latent_channels

    def draw(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw images, half of them mirrored, and noise for their latents."""
        chosen = torch.randint(len(self._data), (size,), generator=generator, device=self._device)
        images = self._data.images_bchw[chosen].float() / 127.5 - 1
        mirrored = torch.rand(size, 1, 1, 1, generator=generator, device=self._device) < 0.5
        side = images.shape[-1] // 4
        shape = (size, self._channels, side, side)
        noise = torch.randn(shape, generator=generator, device=self._device)
        return {"images": torch.where(mirrored, images.flip(-1), images), "noise": noise}

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of three terms: smoothed absolute error, the same of neighbours' differences, KL."""
        images = batch["images"].contiguous(memory_format=torch.channels_last)
        posterior = self.network.encode(images).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        latents = mean + (0.5 * logvar).exp() * batch["noise"]
        error = self.network.decode(latents).sample.float() - batch["images"]
        across, down = error.diff(dim=-1), error.diff(dim=-2)
        edges = _absolute(across) + _absolute(down)
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss: Tensor = _absolute(error) + EDGES * edges + KL * divergence
        return loss


def _absolute(error: Tensor) -> Tensor:
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.02)


@torch.no_grad()
def encode(network: "AutoencoderKL", data: Data, batch: int = 1024) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of every image's latents, each float16 of shape (images, channels, 16, 16)."""
    means, stds = [], []
    for images in torch.split(data.images_bchw, batch):
        posterior = network.encode(images.float() / 127.5 - 1).latent_dist
        means.append(posterior.mean.half())
        stds.append(posterior.std.half())
    return torch.cat(means), torch.cat(stds)
