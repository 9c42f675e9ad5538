"""Framing: which part of an image an input shows, and at what size (Ruiz et al., 2023; Kumari et al., 2023)."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

#: What a caption begins with: nothing; two ways of saying "small"; two of saying "magnified" (Kumari et al., 2023).
PREFIXES = ("", "a far away ", "very small ", "zoomed in ", "close up ")
SMALL, MAGNIFIED = (1, 2), (3, 4)


@dataclass(frozen=True)
class Framing:
    """A square of an image, scaled, then placed on a grey background or cropped to the resolution.

    Attributes:
        left, top: where the square begins, as shares 0..1 of the room that the image leaves it.
        side: of the scaled square in pixels.
        x, y: where a square smaller than the resolution lies on the background, or where the visible part of a larger
            square begins, in pixels.
        prefix: index into `PREFIXES` of what the caption begins with.
    """

    left: float
    top: float
    side: int
    x: int = 0
    y: int = 0
    prefix: int = 0

    def apply(self, image: Image.Image, resolution: int, *, is_mirrored: bool = False) -> Tensor:
        """Return the pixels, -1..1 and 0 on the background, shape (3, resolution, resolution), float32."""
        image = ImageOps.mirror(image) if is_mirrored else image
        width = min(image.size)
        left, top = self.left * (image.width - width), self.top * (image.height - width)
        box = (left, top, left + width, top + width)
        square = image.resize((self.side, self.side), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
        pixels = torch.from_numpy(np.asarray(square, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)
        if self.side > resolution:
            return pixels[:, self.y : self.y + resolution, self.x : self.x + resolution]
        background = torch.zeros(3, resolution, resolution)
        background[:, self.y : self.y + self.side, self.x : self.x + self.side] = pixels
        return background

    def mask(self, resolution: int, latent_side: int) -> Tensor:
        """Return which latents show the image, without its border: 0 or 1, shape (latent_side, latent_side)."""
        if self.side > resolution:
            return torch.ones(latent_side, latent_side)
        factor = resolution // latent_side
        mask = torch.zeros(latent_side, latent_side)
        rows = slice(self.y // factor + 1, (self.y + self.side) // factor - 1)
        columns = slice(self.x // factor + 1, (self.x + self.side) // factor - 1)
        mask[rows, columns] = 1
        return mask


def central_square(image: Image.Image, resolution: int) -> Tensor:
    """Crop the central square and scale it: pixels -1..1, shape (3, resolution, resolution), float32."""
    return Framing(0.5, 0.5, resolution).apply(image, resolution)


def draw_framing(
    size: tuple[int, int], resolution: int, *, crop: bool, scale: bool, generator: torch.Generator
) -> Framing:
    """Draw a framing.

    Args:
        size: width and height of the image.
        resolution: side of the training images in pixels.
        crop: whether the square lies anywhere, in steps of a pixel of the scaled image, rather than in the middle.
        scale: whether the square is scaled at random, as in diffusers' example of Custom Diffusion: in two of three
            cases to between a third of the resolution and the resolution, else to 1.2 to 1.4 times the resolution.
        generator: source of the random numbers.
    """

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    left, top = 0.5, 0.5
    if crop:
        rooms = [round(length * resolution / min(size)) - resolution for length in size]
        left, top = (whole(0, room) / room if room else 0.0 for room in rooms)
    if not scale:
        return Framing(left, top, resolution)
    if torch.rand((), generator=generator).item() < 0.66:
        side = whole(resolution // 3, resolution)
    else:
        side = whole(int(1.2 * resolution), int(1.4 * resolution) - 1)
    room = abs(resolution - side)
    x, y = whole(0, room), whole(0, room)
    which = whole(0, 1)
    prefix = SMALL[which] if side < 0.6 * resolution else MAGNIFIED[which] if side > resolution else 0
    return Framing(left, top, side, x, y, prefix)
