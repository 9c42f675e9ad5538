"""The colours of the world: twelve with names, and those in the gaps between them, which only concepts have."""

import colorsys
import random

Vector = tuple[float, float, float]

COLOURS: dict[str, Vector] = {
    "red": (0.86, 0.17, 0.16),
    "orange": (0.96, 0.52, 0.12),
    "yellow": (0.97, 0.84, 0.22),
    "green": (0.24, 0.65, 0.28),
    "teal": (0.12, 0.66, 0.68),
    "blue": (0.18, 0.36, 0.88),
    "purple": (0.52, 0.26, 0.74),
    "pink": (0.96, 0.54, 0.70),
    "brown": (0.48, 0.30, 0.18),
    "white": (0.94, 0.94, 0.93),
    "gray": (0.55, 0.56, 0.58),
    "black": (0.13, 0.13, 0.15),
}
JITTER = 0.05  # largest difference of a named colour from the table's value, per channel
GAP = 0.13  # smallest distance of an unnamed colour from every named colour; beyond any jitter


def jittered(name: str, rng: random.Random) -> Vector:
    """Draw a colour that goes by a name: sRGB, 0..1, within `JITTER` of the table's value."""
    red, green, blue = (min(1.0, max(0.0, value + rng.uniform(-JITTER, JITTER))) for value in COLOURS[name])
    return red, green, blue


def distance_to_names(colour: Vector) -> float:
    """Return the distance to the nearest named colour: the largest difference over the channels."""
    return min(max(abs(a - b) for a, b in zip(colour, named, strict=True)) for named in COLOURS.values())


def unnamed(rng: random.Random) -> Vector:
    """Draw a colour without a name, which no toy or backdrop of a training image has: sRGB, 0..1."""
    while True:
        colour = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.35, 0.95), rng.uniform(0.35, 0.98))
        if distance_to_names(colour) >= GAP:
            return colour
