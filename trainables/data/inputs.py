"""The inputs of the denoising loss: images, captions, latents, timesteps and noise, each from its own stream."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from trainables.data.framing import PREFIXES, Framing, central_square, draw_framing
from trainables.data.randomness import Streams
from trainables.models.base import BaseModel, Conditioning

SOURCES = ("images", "captions", "flips", "framings", "latents", "timesteps", "noise")


@dataclass(frozen=True)
class Inputs:
    """A batch of denoising problems (paper, equation 2).

    Attributes:
        images: index of the image that each input shows.
        captions: what the text encoder reads.
        input_ids_bl: the captions as tokens, shape (batch, tokens), on the model's device.
        text: the captions' conditioning where it never changes, else None.
        timesteps_b: diffusion timesteps t, shape (batch,), int64, on the model's device.
        noisy_latents_bchw: z_t, in the model's precision, on its device.
        target_bchw: what the model should predict (such as the noise, or the velocity), float32, on its device.
        mask_b1hw: where the image is, 0 or 1, float32, on the device; None if it is everywhere.
        prior_count: how many of the inputs, which come last, show the class rather than the concept.
    """

    images: tuple[int, ...]
    captions: tuple[str, ...]
    input_ids_bl: Tensor
    text: Conditioning | None
    timesteps_b: Tensor
    noisy_latents_bchw: Tensor
    target_bchw: Tensor
    mask_b1hw: Tensor | None = None
    prior_count: int = 0


def split(inputs: Inputs, size: int) -> list[Inputs]:
    """Split a batch into parts with `size` of the concept's inputs each, and an equal share of the class's.

    Raises:
        ValueError: the parts would not be equal.
    """
    count = len(inputs.images) - inputs.prior_count
    if count % size or inputs.prior_count * size % count:
        raise ValueError(f"{count} and {inputs.prior_count} inputs cannot be split into equal parts of {size}")
    parts, share = count // size, inputs.prior_count * size // count
    chosen = [
        [*range(part * size, (part + 1) * size), *range(count + part * share, count + (part + 1) * share)]
        for part in range(parts)
    ]
    return [pick(inputs, rows, share) for rows in chosen]


def pick(inputs: Inputs, rows: list[int], prior_count: int = 0) -> Inputs:
    """Return the inputs at `rows`, the last `prior_count` of which show the class."""
    own = rows[: len(rows) - prior_count]
    return Inputs(
        images=tuple(inputs.images[row] for row in rows),
        captions=tuple(inputs.captions[row] for row in rows),
        input_ids_bl=inputs.input_ids_bl[rows],
        text=None if inputs.text is None else inputs.text.rows(rows),
        timesteps_b=inputs.timesteps_b[rows],
        noisy_latents_bchw=inputs.noisy_latents_bchw[rows],
        target_bchw=inputs.target_bchw[rows],
        mask_b1hw=None if inputs.mask_b1hw is None else inputs.mask_b1hw[own],
        prior_count=prior_count,
    )


def join(concept: Inputs, prior: Inputs) -> Inputs:
    """Join a concept's inputs and, after them, a class's, in a batch whose mask is the concept's alone."""

    def both(a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([a, b])

    text = None
    if concept.text is not None and prior.text is not None:
        text = Conditioning.cat([concept.text, prior.text])
    return replace(
        concept,
        images=concept.images + prior.images,
        captions=concept.captions + prior.captions,
        input_ids_bl=both(concept.input_ids_bl, prior.input_ids_bl),
        text=text,
        timesteps_b=both(concept.timesteps_b, prior.timesteps_b),
        noisy_latents_bchw=both(concept.noisy_latents_bchw, prior.noisy_latents_bchw),
        target_bchw=both(concept.target_bchw, prior.target_bchw),
        prior_count=len(prior.images),
    )


def predict(base: BaseModel, inputs: Inputs) -> Tensor:
    """Return the model's prediction, shape of the latents; the captions are encoded unless `inputs.text` is there."""
    text = base.encode_text(inputs.input_ids_bl) if inputs.text is None else inputs.text
    return base.predict(inputs.noisy_latents_bchw, inputs.timesteps_b, text)


def denoising_loss(prediction_bchw: Tensor, inputs: Inputs, prior_weight: float = 0.0) -> Tensor:
    """Return the mean squared error (paper, equation 2) in float32, and the class's with its weight added.

    With a mask, errors are summed over channels and averaged over the masked places of each input, as in the original
    code and diffusers' example of Custom Diffusion: that is the number of channels times a plain mean.
    """
    prediction, target = prediction_bchw.float(), inputs.target_bchw
    count = len(prediction) - inputs.prior_count
    if inputs.mask_b1hw is None:
        loss = F.mse_loss(prediction[:count], target[:count])
    else:
        errors = F.mse_loss(prediction[:count], target[:count], reduction="none") * inputs.mask_b1hw
        loss = (errors.sum(dim=(1, 2, 3)) / inputs.mask_b1hw.sum(dim=(1, 2, 3))).mean()
    if inputs.prior_count:
        loss = loss + prior_weight * F.mse_loss(prediction[count:], target[count:])
    return loss


@dataclass(frozen=True)
class Augmentation:
    """How an image is varied before it is encoded.

    Attributes:
        flip_probability: chance that it is mirrored, 0..1.
        random_crop: whether a random square is cropped, rather than the central square.
        random_scale: whether it is shrunk on a grey background or magnified (Kumari et al., 2023).
    """

    flip_probability: float = 0.0
    random_crop: bool = False
    random_scale: bool = False

    def is_discrete(self, images: Sequence[Image.Image]) -> bool:
        """Whether an image has only two views, plain and mirrored, so that each can be encoded once."""
        are_square = all(image.width == image.height for image in images)
        return not self.random_scale and (are_square or not self.random_crop)


@dataclass(frozen=True)
class Views:
    """Latents of images, with the place and the caption's beginning of each.

    Attributes:
        latents_bchw: a sample of the VAE's posterior, scaled, float32 on the CPU.
        mask_b1hw: where the image is, 0 or 1; None if it is everywhere.
        prefixes: index into `framing.PREFIXES` of what its caption begins with.
    """

    latents_bchw: Tensor
    mask_b1hw: Tensor | None
    prefixes: tuple[int, ...]


class LatentSource(Protocol):
    """Draws views of a fixed set of images."""

    def sample(self, images: Tensor, flips: Tensor, streams: Streams) -> Views:
        """Draw a view for each pair of image and flip (0 or 1)."""


class LatentDistributions:
    """The VAE's posterior of every image, plain and mirrored; computed once.

    The latent itself is sampled anew for every input, so the distribution of training inputs is that of a loop
    that encodes the image at every step.

    Args:
        base: model whose VAE encodes.
        images: cropped to their central square and scaled to `base.resolution`.
    """

    def __init__(self, base: BaseModel, images: Sequence[Image.Image]) -> None:
        """Encode every image twice, plain and mirrored."""
        pixels = torch.stack([central_square(image, base.resolution) for image in images])
        moments = [base.encode_images(side) for side in (pixels, pixels.flip(-1))]
        self.mean_nfchw = torch.stack([mean for mean, _ in moments], dim=1)
        self.std_nfchw = torch.stack([std for _, std in moments], dim=1)

    def sample(self, images: Tensor, flips: Tensor, streams: Streams) -> Views:
        """Draw a latent for each pair of image and flip (0 or 1)."""
        mean, std = self.mean_nfchw[images, flips], self.std_nfchw[images, flips]
        latents = mean + std * torch.randn(mean.shape, generator=streams["latents"])
        return Views(latents, None, (0,) * len(images))


class FramedImages:
    """Images that are framed anew and encoded for every input, for augmentations whose views do not repeat.

    Args:
        base: model whose VAE encodes.
        images: of any size.
        augmentation: how each is framed.
    """

    def __init__(self, base: BaseModel, images: Sequence[Image.Image], augmentation: Augmentation) -> None:
        """Keep the images; nothing is encoded before `sample`."""
        self._base, self._images, self._augmentation = base, images, augmentation

    def sample(self, images: Tensor, flips: Tensor, streams: Streams) -> Views:
        """Frame, encode and draw a latent for each pair of image and flip (0 or 1)."""
        framings = [self._framing(index, streams) for index in images.tolist()]
        pixels = [
            framing.apply(self._images[index], self._base.resolution, is_mirrored=bool(flip))
            for framing, index, flip in zip(framings, images.tolist(), flips.tolist(), strict=True)
        ]
        mean, std = self._base.encode_images(torch.stack(pixels))
        latents = mean + std * torch.randn(mean.shape, generator=streams["latents"])
        mask = None
        if self._augmentation.random_scale:
            side = latents.shape[-1]
            mask = torch.stack([framing.mask(self._base.resolution, side)[None] for framing in framings])
        return Views(latents, mask, tuple(framing.prefix for framing in framings))

    def _framing(self, index: int, streams: Streams) -> Framing:
        return draw_framing(
            self._images[index].size,
            self._base.resolution,
            crop=self._augmentation.random_crop,
            scale=self._augmentation.random_scale,
            generator=streams["framings"],
        )


class InputSource:
    """Draws inputs from a set of images and captions.

    Args:
        base: the base model, with the placeholder already among its words.
        images: drawn uniformly.
        captions: drawn uniformly.
        augmentation: how images are varied.
        keeps_text: whether the captions' conditioning never changes, so that each caption is encoded once.
    """

    def __init__(
        self,
        base: BaseModel,
        images: Sequence[Image.Image],
        captions: Sequence[str],
        augmentation: Augmentation,
        *,
        keeps_text: bool,
    ) -> None:
        """Tokenize the captions, and encode what does not change from step to step.

        Raises:
            InvalidInput: a caption is longer than what the text encoder reads.
        """
        self.base = base
        self._captions, self._count = tuple(captions), len(images)
        prefixes = PREFIXES if augmentation.random_scale else PREFIXES[:1]
        self._written = tuple(prefix + caption for prefix in prefixes for caption in captions)
        self._input_ids_cl = base.tokenize(self._written)
        self._text: Conditioning | None = None
        if keeps_text:
            self._text = Conditioning.cat([base.encode_text(ids[None]) for ids in self._input_ids_cl])
        self._flip_probability = augmentation.flip_probability
        self._latents: LatentSource = (
            LatentDistributions(base, images)
            if augmentation.is_discrete(images)
            else FramedImages(base, images, augmentation)
        )

    def draw(self, size: int, streams: Streams, timesteps_b: Tensor) -> Inputs:
        """Draw `size` inputs at the given timesteps; everything else is drawn from its stream."""
        images = torch.randint(self._count, (size,), generator=streams["images"])
        flips = (torch.rand(size, generator=streams["flips"]) < self._flip_probability).long()
        drawn = torch.randint(len(self._captions), (size,), generator=streams["captions"])
        views = self._latents.sample(images, flips, streams)
        chosen = torch.tensor(views.prefixes) * len(self._captions) + drawn
        noise = torch.randn(views.latents_bchw.shape, generator=streams["noise"])
        noisy, target = self.base.corrupt(views.latents_bchw, noise, timesteps_b)
        device = self.base.device
        return Inputs(
            images=tuple(images.tolist()),
            captions=tuple(self._written[i] for i in chosen.tolist()),
            input_ids_bl=self._input_ids_cl[chosen.to(device)],
            text=None if self._text is None else self._text.rows(chosen.to(device)),
            timesteps_b=timesteps_b.to(device),
            noisy_latents_bchw=noisy,
            target_bchw=target,
            mask_b1hw=None if views.mask_b1hw is None else views.mask_b1hw.to(device),
        )

    def draw_training(self, size: int, streams: Streams) -> Inputs:
        """Draw a training batch, with the timesteps that the model trains on."""
        return self.draw(size, streams, self.base.draw_timesteps(size, streams["timesteps"]))
