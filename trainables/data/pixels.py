"""Pixels of every mode as RGB with 8 bits: transparency on white, and wider numbers scaled rather than cut off."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Greys wider than 8 bits come in few ranges: the highest value of each, and the factor that takes it to 0..255.
#: Twelve bits are what cameras and microscopes store in files of sixteen.
_TWELVE_BITS = 4095.0
_RANGES = ((1.0, 255.0), (255.0, 1.0), (_TWELVE_BITS, 1 / 16), (65535.0, 1 / 256))


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode as RGB.

    Pillow's own conversion of 16- and 32-bit greys clips them at 255, which leaves black and white.
    """
    if _is_wide(image):
        image = Image.fromarray(_bytes_of(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def is_rescaled(image: Image.Image) -> bool:
    """Whether earlier versions took its pixels for others: they clipped 32 bits, and took all 16 bits for used."""
    if not _is_wide(image):
        return False
    return not image.mode.startswith("I;16") or bool(np.asarray(image).max() <= _TWELVE_BITS)


def _is_wide(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _bytes_of(greys: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale greys to 0..255: by the smallest usual range that holds them, else from the lowest to the highest value.

    Values that are not finite become the lowest or the highest of the others; if there are no others, black.
    """
    values = greys.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    factor = next((factor for highest, factor in _RANGES if high <= highest), None) if low >= 0 else None
    if factor is None:
        values, factor = (values - low) / max(high - low, np.finfo(np.float64).tiny), 255.0
    return np.clip(values * factor, 0, 255).astype(np.uint8)
