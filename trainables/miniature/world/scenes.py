"""Scenes: camera, light, the toy's place in the image, and the backdrop."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trainables.data.randomness import derived_seed
from trainables.miniature.world.colours import COLOURS, Vector, jittered

Place = Literal["room", "beach", "snow", "grass", "table", "checkerboard", "night"]
Position = Literal["left", "middle", "right"]

#: Colours of each place's floor and wall (sRGB); None where they are drawn at random.
PLACES: dict[Place, tuple[Vector, Vector] | None] = {
    "room": None,
    "beach": ((0.93, 0.82, 0.58), (0.55, 0.80, 0.95)),
    "snow": ((0.95, 0.97, 1.0), (0.72, 0.78, 0.86)),
    "grass": ((0.36, 0.62, 0.22), (0.62, 0.83, 0.97)),
    "table": ((0.66, 0.43, 0.24), (0.93, 0.88, 0.78)),
    "checkerboard": None,
    "night": ((0.16, 0.18, 0.30), (0.05, 0.06, 0.16)),
}
POSITIONS: dict[Position, tuple[float, float]] = {
    "left": (-0.38, -0.26),
    "middle": (-0.08, 0.08),
    "right": (0.26, 0.38),
}


@dataclass(frozen=True)
class Scene:
    """Everything about an image except its toy.

    Attributes:
        azimuth, elevation: the camera's direction in radians; azimuth 0 shows the toy's best side.
        distance: the camera's distance in units.
        aside: offset of the toy to the right of the image's middle, in units.
        place: kind of surroundings.
        position: the word for `aside`.
        floor, wall: colours, sRGB in 0..1.
        light: unit vector towards the light.
        floor_name, wall_name: words for a room's colours; None elsewhere.
    """

    azimuth: float
    elevation: float
    distance: float
    aside: float
    place: Place
    position: Position
    floor: Vector
    wall: Vector
    light: Vector
    floor_name: str | None = None
    wall_name: str | None = None


def make_scene(seed: int, place: Place | None = None, floor: str | None = None) -> Scene:
    """Draw a scene from a seed, with the camera within 60 degrees of the toy's best side and light from above.

    Args:
        seed: any integer.
        place: a key of `PLACES`; None draws it, a room more often than the others.
        floor: name of a room's floor colour; None draws it.
    """
    rng = random.Random(derived_seed(seed, "scene"))
    azimuth = rng.uniform(-1.05, 1.05)
    side = azimuth + rng.choice((-1, 1)) * rng.uniform(0.4, 1.0)
    drawn = rng.choices(tuple(PLACES), (8, 1, 1, 1, 1, 1, 1))[0]
    position = rng.choices(tuple(POSITIONS), (1, 3, 1))[0]
    elevation, distance = rng.uniform(0.16, 0.5), rng.uniform(3.3, 3.8)
    light = direction(side, rng.uniform(0.75, 1.1))
    aside = rng.uniform(*POSITIONS[position])
    place = place or ("room" if floor else drawn)
    floor_name, wall_name = _names(rng, floor)
    colours = PLACES[place] or (jittered(floor_name, rng), jittered(wall_name, rng))
    is_room = place == "room"
    return Scene(
        azimuth=azimuth,
        elevation=elevation,
        distance=distance,
        aside=aside,
        place=place,
        position=position,
        floor=colours[0],
        wall=colours[1],
        light=light,
        floor_name=floor_name if is_room else None,
        wall_name=wall_name if is_room else None,
    )


def make_scenes(seed: int, count: int) -> list[Scene]:
    """Draw scenes whose surroundings differ: no place, or among rooms no floor colour, repeats while others are left.

    Args:
        seed: any integer.
        count: number of scenes.
    """
    scenes: list[Scene] = []
    attempt = 0
    while len(scenes) < count:
        scene = make_scene(derived_seed(seed, "view", str(attempt)))
        attempt += 1
        if attempt > 100 * count or not _is_repeated(scene, scenes):
            scenes.append(scene)
    return scenes


def _is_repeated(scene: Scene, others: Sequence[Scene]) -> bool:
    return any((other.place, other.floor_name) == (scene.place, scene.floor_name) for other in others)


def _names(rng: random.Random, floor: str | None) -> tuple[str, str]:
    drawn, wall = rng.sample(list(COLOURS), 2)
    floor = floor or drawn
    return floor, (wall if wall != floor else drawn)


def direction(azimuth: float, elevation: float) -> Vector:
    """Return the unit vector that points along angles in radians; azimuth 0 and elevation 0 is +z."""
    flat = math.cos(elevation)
    return math.sin(azimuth) * flat, math.sin(elevation), math.cos(azimuth) * flat
