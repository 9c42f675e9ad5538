"""Toys: instances of a class, each with its own proportions, colours, pattern, material and size, from a seed."""

import random
from dataclasses import dataclass
from typing import Literal

from trainables.data.randomness import derived_seed
from trainables.errors import InvalidInput
from trainables.miniature.world.colours import COLOURS, Vector, jittered, unnamed
from trainables.miniature.world.nouns import NOUNS
from trainables.miniature.world.shapes import BUILDERS, Uniform
from trainables.miniature.world.solids import Part
from trainables.text import did_you_mean

Pattern = Literal["plain", "striped", "dotted", "checkered"]
Material = Literal["plastic", "matte", "shiny", "metal"]
Size = Literal["small", "medium", "big"]

PATTERNS: tuple[Pattern, ...] = ("plain", "striped", "dotted", "checkered")
MATERIALS: tuple[Material, ...] = ("plastic", "matte", "shiny", "metal")
SIZES: dict[Size, tuple[float, float]] = {"small": (0.70, 0.76), "medium": (0.84, 0.90), "big": (0.98, 1.04)}
BEYOND = (0.05, 0.2)  # distance of a concept's proportions from the training's range, as a share of the range


@dataclass(frozen=True)
class Toy:
    """A toy: its class, shape and look.

    Attributes:
        noun: its class, from `NOUNS`.
        parts: its solids.
        colours: two colours, sRGB in 0..1; the second also draws the pattern on parts of the first.
        pattern: pattern of the parts that have the first colour.
        period: period of the pattern, in units.
        material: how it reflects light.
        size: the word for its scale.
        colour_names: words for the two colours; None for a concept, whose colours have no names.
    """

    noun: str
    parts: tuple[Part, ...]
    colours: tuple[Vector, Vector]
    pattern: Pattern = "plain"
    period: float = 0.2
    material: Material = "plastic"
    size: Size = "medium"
    colour_names: tuple[str, str] | None = None


def make_toy(seed: int, noun: str | None = None) -> Toy:
    """Draw a toy of the training world, whose look words can describe.

    Args:
        seed: any integer.
        noun: a class from `NOUNS`; None draws it.

    Raises:
        InvalidInput: the noun is not in `NOUNS`.
    """
    rng = random.Random(derived_seed(seed, "toy"))
    names = _two(rng)
    colours = jittered(names[0], rng), jittered(names[1], rng)
    return _toy(rng, noun, rng.uniform, colours, names)


def make_novel_toy(seed: int, noun: str | None = None) -> Toy:
    """Draw a toy outside the training world: proportions beyond the training's range, and colours without names.

    Args:
        seed: any integer.
        noun: a class from `NOUNS`; None draws it.

    Raises:
        InvalidInput: the noun is not in `NOUNS`.
    """
    rng = random.Random(derived_seed(seed, "novel toy"))
    main = second = unnamed(rng)
    while max(abs(a - b) for a, b in zip(main, second, strict=True)) < 0.3:
        second = unnamed(rng)

    def beyond(low: float, high: float) -> float:
        step = rng.uniform(*BEYOND) * (high - low)
        return rng.choice((low - step, high + step))

    return _toy(rng, noun, beyond, (main, second), None)


def _two(rng: random.Random) -> tuple[str, str]:
    first, second = rng.sample(list(COLOURS), 2)
    return first, second


def _toy(
    rng: random.Random,
    noun: str | None,
    uniform: Uniform,
    colours: tuple[Vector, Vector],
    names: tuple[str, str] | None,
) -> Toy:
    drawn = rng.choice(NOUNS)
    noun = drawn if noun is None else noun
    if noun not in BUILDERS:
        raise InvalidInput(f"unknown toy {noun!r}; {did_you_mean(noun, NOUNS)}")
    size = rng.choice(tuple(SIZES))
    scale = rng.uniform(*SIZES[size])
    return Toy(
        noun=noun,
        parts=tuple(part.scaled(scale) for part in BUILDERS[noun](uniform)),
        colours=colours,
        pattern=rng.choices(PATTERNS, (2, 1, 1, 1))[0],
        period=uniform(0.19, 0.23),
        material=rng.choices(MATERIALS, (3, 1, 1, 1))[0],
        size=size,
        colour_names=names,
    )
