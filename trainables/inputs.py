"""The inputs of the denoising loss: images, captions, latents, timesteps and noise, each from its own stream."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.base_model import BaseModel
from trainables.concept import Concept
from trainables.randomness import Streams

SOURCES = ("images", "captions", "flips", "latents", "timesteps", "noise")


@dataclass(frozen=True)
class Inputs:
    """A batch of denoising problems (paper, equation 2).

    Attributes:
        images: which of the concept's images each input shows.
        captions: what the text encoder reads.
        input_ids_bl: the captions as tokens, shape (batch, tokens), on the model's device.
        timesteps_b: diffusion timesteps t, shape (batch,), int64, on the model's device.
        noisy_latents_bchw: z_t, in the model's precision, on its device.
        target_bchw: what the model should predict (the noise, or the velocity), float32, on its device.
    """

    images: tuple[int, ...]
    captions: tuple[str, ...]
    input_ids_bl: Tensor
    timesteps_b: Tensor
    noisy_latents_bchw: Tensor
    target_bchw: Tensor


class LatentDistributions:
    """The VAE's posterior of every image of a concept, plain and mirrored; computed once.

    The latent itself is sampled anew for every input, so the distribution of training inputs is that of a loop
    that encodes the image at every step.

    Args:
        base: model whose VAE encodes.
        concept: its images, cut to their central square and scaled to `base.resolution`.
    """

    def __init__(self, base: BaseModel, concept: Concept) -> None:
        pixels = torch.stack([base.preprocess(image) for image in concept.decode()])
        moments = [base.encode(side) for side in (pixels, pixels.flip(-1))]
        self.mean_nfchw = torch.stack([mean for mean, _ in moments], dim=1)
        self.std_nfchw = torch.stack([std for _, std in moments], dim=1)

    def __len__(self) -> int:
        return len(self.mean_nfchw)

    def sample(self, images: Tensor, flips: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one latent for each pair of image and flip (0 or 1): shape (batch, channels, height, width)."""
        mean, std = self.mean_nfchw[images, flips], self.std_nfchw[images, flips]
        return mean + std * torch.randn(mean.shape, generator=generator)


class InputSource:
    """Draws inputs for one concept.

    Args:
        base: the base model, with the placeholder already among its words.
        concept: whose images and placeholder are used.
        templates: captions with one `{}` for the placeholder, drawn uniformly.
        flip_probability: chance that an image is mirrored, 0..1.
    """

    def __init__(self, base: BaseModel, concept: Concept, templates: Sequence[str], flip_probability: float) -> None:
        self.base = base
        self._captions = tuple(template.format(concept.placeholder) for template in templates)
        self._input_ids_cl = base.tokenize(self._captions)
        self._flip_probability = flip_probability
        self._latents = LatentDistributions(base, concept)

    def draw(self, size: int, streams: Streams, timesteps_b: Tensor) -> Inputs:
        """Draw `size` inputs at the given timesteps; every other source comes from its stream."""
        images = torch.randint(len(self._latents), (size,), generator=streams["images"])
        flips = (torch.rand(size, generator=streams["flips"]) < self._flip_probability).long()
        chosen = torch.randint(len(self._captions), (size,), generator=streams["captions"])
        captions = tuple(self._captions[i] for i in chosen.tolist())
        latents = self._latents.sample(images, flips, streams["latents"])
        noise = torch.randn(latents.shape, generator=streams["noise"])
        noisy, target = self.base.diffuse(latents, noise, timesteps_b)
        return Inputs(
            images=tuple(images.tolist()),
            captions=captions,
            input_ids_bl=self._input_ids_cl[chosen.to(self.base.device)],
            timesteps_b=timesteps_b.to(self.base.device),
            noisy_latents_bchw=noisy,
            target_bchw=target,
        )

    def draw_training(self, size: int, streams: Streams) -> Inputs:
        """Draw a training batch: timesteps uniform and independent."""
        timesteps = torch.randint(self.base.timesteps, (size,), generator=streams["timesteps"])
        return self.draw(size, streams, timesteps)
