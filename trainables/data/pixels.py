"""Pixels of every mode as RGB with 8 bits: transparency on white, and wider numbers scaled rather than cut off."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Greys wider than 8 bits come in few ranges: the highest value of each, and the factor that takes it to 0..255.
#: Twelve bits are what cameras and microscopes store in files of sixteen.
_TWELVE_BITS = 4095.0
_RANGES = ((1.0, 255.0), (255.0, 1.0), (_TWELVE_BITS, 1 / 16), (65535.0, 1 / 256))

#: About how many pixels are converted at a time: greys take 8 bytes each, several times over.
_BAND = 2**20


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode as RGB.

    Pillow's own conversion of 16- and 32-bit greys clips them at 255, which leaves black and white.
    """
    if _is_wide(image):
        image = Image.fromarray(_bytes_of(np.asarray(image)))
    return _on_white(image) if image.has_transparency_data else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """Put a transparent image on white, a band at a time: each of the steps takes 4 bytes per pixel."""
    width, height = image.size
    opaque, rows = Image.new("RGB", image.size), max(1, _BAND // max(1, width))
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height))).convert("RGBA")
        opaque.paste(Image.alpha_composite(Image.new("RGBA", band.size, "white"), band).convert("RGB"), (0, top))
    return opaque


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
    rows = max(1, _BAND // max(1, greys.shape[1]))
    bands = [slice(start, start + rows) for start in range(0, len(greys), rows)]
    ranges = [(values.min(), values.max()) for values in map(_finite, (greys[band] for band in bands)) if values.size]
    low = float(min((lowest for lowest, _ in ranges), default=0))
    high = float(max((highest for _, highest in ranges), default=0))
    scaled = np.empty(greys.shape, np.uint8)
    for band in bands:
        scaled[band] = _scaled(greys[band], low, high)
    return scaled


def _finite(greys: NDArray[np.generic]) -> NDArray[np.float64]:
    values = greys.astype(np.float64)
    return values[np.isfinite(values)]


def _scaled(greys: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    values = np.nan_to_num(greys.astype(np.float64), nan=low, posinf=high, neginf=low)
    factor = next((factor for highest, factor in _RANGES if high <= highest), None) if low >= 0 else None
    if factor is None:
        values, factor = (values - low) / max(high - low, np.finfo(np.float64).tiny), 255.0
    return np.clip(values * factor, 0, 255).astype(np.uint8)
