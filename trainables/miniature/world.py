"""The world of the miniature: toys built of simple solids, rendered from a seed by marching signed distance fields.

Coordinates: y points up, the floor is y = 0, a toy stands around the y axis, is at most 1.8 units high and wide, and
turns its best side to +z. Nothing here draws ambient randomness, and every operation is elementwise, so an image
depends on its own toy and scene alone, not on the others of its batch.
"""

import colorsys
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, NamedTuple, get_args

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from trainables.randomness import derived_seed

Vector = tuple[float, float, float]
Kind = Literal["ellipsoid", "box", "cylinder", "cone", "torus"]
Pattern = Literal["plain", "striped", "dotted"]

MAIN, SECOND, INK, PAPER = range(4)  # what a part is painted with: the toy's two colours, or fixed dark and light
INK_RGB, PAPER_RGB = (0.13, 0.13, 0.16), (0.96, 0.95, 0.91)
PATTERNS: tuple[Pattern, ...] = ("plain", "striped", "dotted")
COLOURS: dict[str, Vector] = {
    "red": (0.88, 0.20, 0.18),
    "orange": (0.96, 0.54, 0.14),
    "yellow": (0.98, 0.83, 0.22),
    "green": (0.26, 0.67, 0.30),
    "teal": (0.14, 0.68, 0.68),
    "blue": (0.20, 0.40, 0.90),
    "purple": (0.54, 0.28, 0.75),
    "pink": (0.97, 0.52, 0.68),
    "brown": (0.52, 0.33, 0.20),
    "white": (0.94, 0.94, 0.93),
}
TARGET: Vector = (0.0, 0.72, 0.0)  # where the camera looks, and the middle of the sphere that holds every toy
REACH, FOCAL, FAR_AWAY = 1.15, 2.9, 99.0
MARCH_STEPS, SHADOW_STEPS = 32, 16


class Part(NamedTuple):
    """One solid of a toy.

    `size` holds the semi-axes of an ellipsoid; the half extents of a box; radius, half height and rounding of a
    cylinder; lower radius, half height and upper radius of a cone; radius and tube radius of a torus. Cylinder, cone
    and torus have the y axis; `turn` rotates about x, then y, then z, in radians.
    """

    kind: Kind
    paint: int
    centre: Vector
    size: Vector
    turn: Vector = (0.0, 0.0, 0.0)


STAND_IN = Part("ellipsoid", MAIN, (0, FAR_AWAY, 0), (1, 1, 1))  # of the slots that a toy does not need


@dataclass(frozen=True)
class Toy:
    """One toy: its class noun, its parts, its two colours (sRGB, 0..1) and the pattern on what has the first."""

    noun: str
    parts: tuple[Part, ...]
    colours: tuple[Vector, Vector]
    pattern: Pattern


@dataclass(frozen=True)
class Scene:
    """Camera (angles in radians, distance in units), backdrop colours (sRGB, 0..1), unit vector towards the light."""

    azimuth: float
    elevation: float
    distance: float
    floor: Vector
    wall: Vector
    light: Vector


Uniform = Callable[[float, float], float]


def _pair(part: Part, axis: int = 0) -> list[Part]:
    """Return the part and its mirror image across x = 0 (axis 0) or z = 0 (axis 2)."""
    x, y, z = (-value if i == axis else value for i, value in enumerate(part.centre))
    a, b, c = (value if i == axis else -value for i, value in enumerate(part.turn))
    return [part, part._replace(centre=(x, y, z), turn=(a, b, c))]


def _robot(u: Uniform) -> list[Part]:
    w, h, leg, d, swing = u(0.26, 0.37), u(0.24, 0.33), u(0.14, 0.22), u(0.17, 0.24), u(0.1, 0.45)
    head_w, head_h = w * u(0.65, 0.9), u(0.15, 0.21)
    chest, hand = 2 * leg + h, 0.8 * h * swing
    head = chest + h + 0.05 + head_h
    top = head + head_h
    return [
        Part("box", MAIN, (0, chest, 0), (w, h, d)),
        Part("box", PAPER, (0, chest + 0.1 * h, d), (0.55 * w, 0.4 * h, 0.02)),
        Part("box", SECOND, (0, head, 0), (head_w, head_h, 0.9 * d)),
        Part("cylinder", INK, (0, top + 0.06, 0), (0.022, 0.09, 0.01)),
        Part("ellipsoid", MAIN, (0, top + 0.17, 0), (0.06, 0.06, 0.06)),
        *_pair(Part("ellipsoid", PAPER, (0.45 * head_w, head + 0.02, 0.9 * d), (0.085, 0.085, 0.06))),
        *_pair(Part("ellipsoid", INK, (0.45 * head_w, head + 0.02, 0.9 * d + 0.045), (0.04, 0.04, 0.03))),
        *_pair(Part("cylinder", SECOND, (w + 0.11, chest + 0.05, 0), (0.065, 0.8 * h, 0.06), (0, 0, swing))),
        *_pair(Part("ellipsoid", INK, (w + 0.13 + hand, chest - 0.8 * h, 0), (0.09, 0.09, 0.09))),
        *_pair(Part("cylinder", SECOND, (0.55 * w, leg, 0), (0.09, leg, 0.02))),
        *_pair(Part("box", INK, (0.55 * w, 0.05, 0.05), (0.12, 0.05, 0.16))),
    ]


def _duck(u: Uniform) -> list[Part]:
    a, b, head, beak, tail = u(0.5, 0.62), u(0.32, 0.42), u(0.23, 0.31), u(0.16, 0.23), u(0.5, 0.9)
    x, y, side = 0.55 * a, 1.75 * b + 0.7 * head, 0.8 * b
    return [
        Part("ellipsoid", MAIN, (0, 0.93 * b, 0), (a, b, side + 0.05)),
        Part("ellipsoid", MAIN, (-0.85 * a, 1.35 * b, 0), (0.28, 0.13, 0.16), (0, 0, -tail)),
        Part("ellipsoid", MAIN, (x, y, 0), (head, head, head)),
        Part("ellipsoid", SECOND, (x + head, y - 0.03, 0), (beak, 0.05, 0.13)),
        *_pair(Part("ellipsoid", INK, (x + 0.62 * head, y + 0.3 * head, 0.68 * head), (0.05, 0.055, 0.045)), 2),
        *_pair(Part("ellipsoid", SECOND, (-0.15 * a, 1.1 * b, side), (0.5 * a, 0.5 * b, 0.1), (0, 0, -0.25)), 2),
    ]


def _car(u: Uniform) -> list[Part]:
    length, h, d, r = u(0.62, 0.76), u(0.13, 0.18), u(0.3, 0.38), u(0.16, 0.22)
    cabin, roof, back = length * u(0.48, 0.62), u(0.15, 0.22), -length * u(0.0, 0.25)
    body, axle, flat = r + h, 0.58 * length, (math.pi / 2, 0.0, 0.0)
    top = body + h + roof
    wheels = [part for x in (-axle, axle) for part in _pair(Part("cylinder", INK, (x, r, d), (r, 0.07, 0.03), flat), 2)]
    hubs = [wheel._replace(paint=PAPER, size=(0.5 * r, 0.1, 0.01)) for wheel in wheels]
    return [
        Part("box", MAIN, (0, body, 0), (length, h, d)),
        Part("box", SECOND, (back, top, 0), (cabin, roof, 0.86 * d)),
        Part("box", INK, (back, top, 0), (1.02 * cabin, 0.6 * roof, 0.7 * d)),
        Part("box", INK, (back - 0.5 * cabin, top, 0), (0.4 * cabin, 0.6 * roof, 0.88 * d)),
        Part("box", INK, (back + 0.5 * cabin, top, 0), (0.4 * cabin, 0.6 * roof, 0.88 * d)),
        *_pair(Part("ellipsoid", PAPER, (length, body + 0.3 * h, 0.65 * d), (0.04, 0.07, 0.07)), 2),
        *wheels,
        *hubs,
    ]


def _house(u: Uniform) -> list[Part]:
    w, h, d, slope = u(0.38, 0.52), u(0.26, 0.38), u(0.32, 0.48), math.pi / 4
    gable, roof = math.sqrt(0.5) * w, (0.72 * w + 0.08, 0.05, d + 0.08)
    return [
        Part("box", MAIN, (0, h, 0), (w, h, d)),
        Part("box", MAIN, (0, 2 * h, 0), (gable, gable, d - 0.01), (0, 0, slope)),
        *_pair(Part("box", SECOND, (0.5 * w + 0.05, 2 * h + 0.5 * w, 0), roof, (0, 0, -slope))),
        *_pair(Part("box", PAPER, (0.58 * w, 1.25 * h, d), (0.1, 0.1, 0.02))),
        Part("box", SECOND, (0, 0.5 * h, d), (0.11, 0.5 * h, 0.03)),
        Part("ellipsoid", INK, (0, 2.3 * h, d), (0.09, 0.09, 0.03)),
        Part("box", INK, (0.55 * w, 2 * h + 0.8 * w, -0.3 * d), (0.08, u(0.16, 0.24), 0.08)),
    ]


def _rocket(u: Uniform) -> list[Part]:
    r, h, nose, fin = u(0.19, 0.28), u(0.36, 0.45), u(0.18, 0.27), u(0.2, 0.27)
    fins, start, porthole, far = int(u(3, 5)), u(0, 2), 0.2 + h * u(1.2, 1.45), r + 0.07
    turns = [start + 2 * math.pi * i / fins for i in range(fins)]
    places = [(far * math.sin(a), 0.26, far * math.cos(a)) for a in turns]
    return [
        Part("cylinder", MAIN, (0, 0.2 + h, 0), (r, h, 0.02)),
        Part("cone", SECOND, (0, 0.2 + 2 * h + nose, 0), (r, nose, 0.02)),
        Part("cone", INK, (0, 0.15, 0), (0.85 * r, 0.08, 0.55 * r)),
        Part("torus", SECOND, (0, porthole, 0.97 * r), (0.11, 0.035, 0), (math.pi / 2, 0, 0)),
        Part("ellipsoid", PAPER, (0, porthole, 0.95 * r), (0.1, 0.1, 0.05)),
        *(Part("box", SECOND, place, (0.04, fin, 0.12), (-0.5, a, 0)) for place, a in zip(places, turns, strict=True)),
    ]


def _mushroom(u: Uniform) -> list[Part]:
    r, h, cap, high, spots = u(0.12, 0.19), u(0.36, 0.5), u(0.44, 0.64), u(0.22, 0.36), int(u(5, 9))
    base, dots = 2 * h, []
    for i in range(spots):
        y, a = 0.3 + 0.65 * (i + 0.5) / spots, 2.4 * i + u(0, 0.5)  # the golden angle spreads them
        out = 0.98 * cap * math.sqrt(1 - y * y)
        place = (out * math.sin(a), base + 0.98 * high * y, out * math.cos(a))
        dots.append(Part("ellipsoid", PAPER, place, (0.09, 0.06, 0.09)))
    return [
        Part("cone", SECOND, (0, h, 0), (1.4 * r, h, 0.9 * r)),
        Part("torus", SECOND, (0, 1.35 * h, 0), (r, 0.05, 0)),
        Part("ellipsoid", MAIN, (0, base, 0), (cap, high, cap)),
        Part("ellipsoid", PAPER, (0, base - 0.3 * high, 0), (0.9 * cap, 0.75 * high, 0.9 * cap)),
        *dots,
    ]


def _snowman(u: Uniform) -> list[Part]:
    a, nose = u(0.34, 0.41), u(0.08, 0.15)
    b, c = a * u(0.68, 0.80), a * u(0.52, 0.60)
    belly, head = 0.92 * a + 0.8 * (a + b), 0.92 * a + 0.8 * (a + 2 * b + c)
    brim, hat, top = c * u(1.1, 1.4), c * u(0.35, 0.55), head + 0.75 * c
    return [
        *(Part("ellipsoid", MAIN, (0, y, 0), (r, r, r)) for y, r in ((0.92 * a, a), (belly, b), (head, c))),
        *(Part("ellipsoid", INK, (0, belly + s * b, 0.93 * b), (0.045, 0.045, 0.04)) for s in (-0.4, 0.25)),
        *_pair(Part("ellipsoid", INK, (0.4 * c, head + 0.25 * c, 0.86 * c), (0.045, 0.055, 0.04))),
        Part("cone", SECOND, (0, head - 0.05, c + 0.5 * nose), (0.06, nose, 0.01), (math.pi / 2, 0, 0)),
        Part("torus", SECOND, (0, head - 0.8 * c, 0), (0.72 * c, 0.07, 0), (0.1, 0, 0)),
        Part("cylinder", SECOND, (0, top, 0), (brim, 0.03, 0.02)),
        Part("cylinder", SECOND, (0, top + hat, 0), (0.72 * c, hat, 0.02)),
    ]


def _tree(u: Uniform) -> list[Part]:
    tiers, r, thick, trunk, top = int(u(2, 5)), u(0.42, 0.6), u(0.08, 0.13), u(0.12, 0.2), u(1.3, 1.55)
    step = (top - 2 * trunk) / (tiers + 0.5)
    radii = [r * (1 - 0.75 * i / tiers) for i in range(tiers)]
    heights = [2 * trunk + step * (i + 0.7) for i in range(tiers)]
    return [
        Part("cylinder", SECOND, (0, trunk, 0), (thick, trunk + 0.05, 0.01)),
        *(Part("cone", MAIN, (0, y, 0), (r, 0.75 * step, 0.15 * r)) for y, r in zip(heights, radii, strict=True)),
        Part("ellipsoid", SECOND, (0, top - 0.02, 0), (0.09, 0.09, 0.09)),
    ]


BUILDERS: dict[str, Callable[[Uniform], list[Part]]] = {
    "robot": _robot,
    "duck": _duck,
    "car": _car,
    "house": _house,
    "rocket": _rocket,
    "mushroom": _mushroom,
    "snowman": _snowman,
    "tree": _tree,
}
NOUNS = tuple(BUILDERS)


def make_toy(seed: int, noun: str | None = None) -> Toy:
    """Draw a toy from a seed: its proportions, its two colours and its pattern.

    Args:
        seed: any integer.
        noun: one of `NOUNS`; None draws it too.

    Raises:
        ValueError: the noun is none of `NOUNS`.
    """
    rng = random.Random(derived_seed(seed, "toy"))
    drawn = rng.choice(NOUNS)
    noun = drawn if noun is None else noun
    if noun not in BUILDERS:
        raise ValueError(f"unknown toy {noun!r}; available: {', '.join(NOUNS)}")
    main, second = (_jittered(COLOURS[name], rng) for name in rng.sample(sorted(COLOURS), 2))
    pattern = rng.choice(PATTERNS)
    return Toy(noun, tuple(BUILDERS[noun](rng.uniform)), (main, second), pattern)


def _jittered(colour: Vector, rng: random.Random) -> Vector:
    red, green, blue = (min(1.0, max(0.05, value + rng.uniform(-0.07, 0.07))) for value in colour)
    return red, green, blue


def make_scene(seed: int) -> Scene:
    """Draw a scene from a seed: a camera within 60 degrees of the toy's best side, muted backdrop, light from above."""
    rng = random.Random(derived_seed(seed, "scene"))
    azimuth = rng.uniform(-1.05, 1.05)
    side = azimuth + rng.choice((-1, 1)) * rng.uniform(0.4, 1.0)
    return Scene(
        azimuth=azimuth,
        elevation=rng.uniform(0.14, 0.55),
        distance=rng.uniform(3.5, 4.5),
        floor=colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.08, 0.45), rng.uniform(0.55, 0.95)),
        wall=colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.08, 0.45), rng.uniform(0.55, 0.95)),
        light=_direction(side, rng.uniform(0.75, 1.1)),
    )


def _direction(azimuth: float, elevation: float) -> Vector:
    flat = math.cos(elevation)
    return math.sin(azimuth) * flat, math.sin(elevation), math.cos(azimuth) * flat


def concept_images(seed: int, views: int = 5, size: int = 64, noun: str | None = None) -> tuple[str, list[Image.Image]]:
    """Render several views of one toy, each on a backdrop of its own.

    Args:
        seed: any integer; it decides toy and scenes.
        views: how many images.
        size: their height and width in pixels.
        noun: the toy's class; None leaves it to the seed.

    Returns:
        The toy's class noun, and its RGB images.
    """
    toy = make_toy(seed, noun)
    scenes = [make_scene(derived_seed(seed, "view", str(view))) for view in range(views)]
    pixels = render([toy] * views, scenes, size).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return toy.noun, [Image.fromarray(image.numpy()) for image in pixels]


@torch.no_grad()
def render(toys: Sequence[Toy], scenes: Sequence[Scene], size: int = 64) -> Tensor:
    """Render each toy in its scene.

    Args:
        toys: one an image; they may differ in class. A toy without parts leaves the backdrop alone.
        scenes: one an image.
        size: height and width in pixels; four rays a pixel are averaged.

    Returns:
        images_bchw: (toys, 3, size, size), float32, sRGB in 0..1, on the CPU.

    Raises:
        ValueError: no toy, another number of scenes than of toys, or a size below 1.
    """
    if not toys or len(toys) != len(scenes) or size < 1:
        counts = f"{len(toys)} toys, {len(scenes)} scenes, size {size}"
        raise ValueError(f"need at least one toy, as many scenes as toys, and size >= 1; got {counts}")
    slots = _slots(toys)
    eye, rays = _camera(scenes, 2 * size)
    depth, on_toy = _march(slots, eye, rays)
    points = eye + rays * depth
    lights = _column([scene.light for scene in scenes])
    normals = torch.tensor([0.0, 1.0, 0.0])[:, None, None].expand_as(points).clone()
    normals = _where(on_toy, normals, lambda spots: _normals(slots, spots), points)
    albedo = _backdrop(scenes, points, rays)
    albedo = _where(on_toy, albedo, lambda *spots: _paint(toys, slots, *spots), points, normals)
    near = on_toy | (_crossing(points, lights, 1.2 * REACH)[1] > 0)
    shade = _where(near, torch.ones_like(points), lambda *spots: _shade(slots, lights, *spots), points, normals)
    linear = _lit(albedo, shade, normals, rays, lights, on_toy)
    images_bchw = linear.permute(1, 0, 2).reshape(len(toys), 3, 2 * size, 2 * size)
    return F.avg_pool2d(images_bchw, 2).clamp(0, 1).sqrt()  # colours are squared on the way in: a gamma of 2


class _Slot(NamedTuple):
    """The n-th part of one kind, of every toy: centre and size (3, toys, 1), rotation rows (3, 3, toys, 1)."""

    kind: Kind
    centre: Tensor
    size: Tensor
    rotation: Tensor
    paint: Tensor


def _column(vectors: Sequence[Vector]) -> Tensor:
    return torch.tensor(vectors, dtype=torch.float32).T[:, :, None]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _length(a: Tensor, b: Tensor) -> Tensor:
    return (a * a + b * b).sqrt()


def _slots(toys: Sequence[Toy]) -> list[_Slot]:
    """Stack the toys' parts kind by kind; where a toy has fewer than another, an ellipsoid far away stands in."""
    slots = []
    for kind in get_args(Kind):
        rows = zip_longest(*([part for part in toy.parts if part.kind == kind] for toy in toys))
        slots += [_slot(kind, [part or STAND_IN for part in row]) for row in rows]
    return slots or [_slot("ellipsoid", [STAND_IN] * len(toys))]


def _slot(kind: Kind, parts: Sequence[Part]) -> _Slot:
    rotations = torch.tensor([_rotation(*part.turn) for part in parts], dtype=torch.float32)
    return _Slot(
        kind,
        _column([part.centre for part in parts]),
        _column([part.size for part in parts]),
        rotations.permute(1, 2, 0)[..., None],
        torch.tensor([part.paint for part in parts])[:, None],
    )


def _rotation(x: float, y: float, z: float) -> list[Vector]:
    """Return the rows of the matrix that takes a point of the world into the frame of a part turned by x, y, z."""
    (a, b), (c, d), (e, f) = ((math.cos(angle), math.sin(angle)) for angle in (x, y, z))
    return [
        (e * c, e * d * b + f * a, -e * d * a + f * b),
        (-f * c, -f * d * b + e * a, f * d * a + e * b),
        (d, -c * b, c * a),
    ]


def _distances(slots: Sequence[_Slot], points: Tensor) -> Iterator[Tensor]:
    """Yield the signed distance (toys, points) of points (3, toys, points) to each slot."""
    for slot in slots:
        moved = points - slot.centre
        local = torch.stack([_dot(row, moved) for row in slot.rotation])
        yield SOLIDS[slot.kind](local, slot.size)


def _distance(slots: Sequence[_Slot], points: Tensor) -> Tensor:
    nearest = torch.full_like(points[0], FAR_AWAY)
    for distance in _distances(slots, points):
        nearest = torch.minimum(nearest, distance)
    return nearest


def _ellipsoid(p: Tensor, size: Tensor) -> Tensor:
    scaled = p / size
    inner = _dot(scaled, scaled).sqrt()
    scaled = scaled / size
    return inner * (inner - 1) / _dot(scaled, scaled).sqrt().clamp(min=1e-6)


def _box(p: Tensor, size: Tensor) -> Tensor:
    rounding = (0.4 * size.amin(0)).clamp(max=0.05)
    beyond = p.abs() - size + rounding
    outside = beyond.clamp(min=0)
    return _dot(outside, outside).sqrt() + beyond.amax(0).clamp(max=0) - rounding


def _cylinder(p: Tensor, size: Tensor) -> Tensor:
    radius, half, rounding = size
    side, cap = _length(p[0], p[2]) - radius + rounding, p[1].abs() - half + rounding
    distance: Tensor = _length(side.clamp(min=0), cap.clamp(min=0)) + torch.maximum(side, cap).clamp(max=0) - rounding
    return distance


def _cone(p: Tensor, size: Tensor) -> Tensor:
    lower, half, upper = size
    radius, taper = _length(p[0], p[2]), upper - lower
    cap = radius - torch.minimum(radius, torch.where(p[1] < 0, lower, upper)), p[1].abs() - half
    along = (((upper - radius) * taper + (half - p[1]) * 2 * half) / (taper**2 + 4 * half**2)).clamp(0, 1)
    flank = radius - upper + taper * along, p[1] - half + 2 * half * along
    inside = (flank[0] < 0) & (cap[1] < 0)
    squared = torch.minimum(cap[0] ** 2 + cap[1] ** 2, flank[0] ** 2 + flank[1] ** 2)
    return squared.sqrt() * torch.where(inside, -1.0, 1.0)


def _torus(p: Tensor, size: Tensor) -> Tensor:
    return _length(_length(p[0], p[2]) - size[0], p[1]) - size[1]


SOLIDS: dict[Kind, Callable[[Tensor, Tensor], Tensor]] = {
    "ellipsoid": _ellipsoid,
    "box": _box,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
}


def _where(mask: Tensor, base: Tensor, compute: Callable[..., Tensor], *fields: Tensor) -> Tensor:
    """Replace `base` (3, toys, rays) by `compute(*fields)` where the mask (toys, rays) holds, computing only there."""
    index = mask.byte().argsort(dim=1, descending=True, stable=True)[:, : int(mask.sum(1).max())]
    index = index.expand(3, *index.shape)
    values = compute(*(field.expand_as(base).gather(2, index) for field in fields))
    return torch.where(mask, base.scatter(2, index, values), base)


def _camera(scenes: Sequence[Scene], side: int) -> tuple[Tensor, Tensor]:
    """Return the eyes (3, scenes, 1) and the unit directions of side * side rays (3, scenes, rays)."""
    back = _column([_direction(scene.azimuth, scene.elevation) for scene in scenes])
    right = _column([_direction(scene.azimuth + math.pi / 2, 0.0) for scene in scenes])
    up = torch.linalg.cross(back, right, dim=0)
    across = (torch.arange(side, dtype=torch.float32) + 0.5) * (2 / side) - 1
    rays = across.repeat(side) * right - across.repeat_interleave(side) * up - FOCAL * back
    distance = torch.tensor([[scene.distance] for scene in scenes], dtype=torch.float32)
    return _column([TARGET]) + distance * back, rays / _dot(rays, rays).sqrt()


def _crossing(origin: Tensor, rays: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Return where rays enter and leave the sphere around a toy, in units along them; leaving is -1 for a miss."""
    offset = origin - _column([TARGET])
    middle = -_dot(offset, rays)
    half = radius**2 - _dot(offset, offset) + middle**2
    root = half.clamp(min=0).sqrt()
    return (middle - root).clamp(min=0), torch.where(half > 0, middle + root, -1.0)


def _march(slots: Sequence[_Slot], eye: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Return each ray's depth (toys, rays), to the toy or the floor and at most 30 units, and whether on the toy."""
    floor = torch.where(rays[1] < -1e-3, -eye[1] / rays[1], 30.0).clamp(max=30)
    enter, leave = _crossing(eye, rays, REACH)

    def walk(rays: Tensor, enter: Tensor, leave: Tensor) -> Tensor:
        travelled, rest = enter[0], torch.zeros_like(enter[0])
        for _ in range(MARCH_STEPS):
            rest = _distance(slots, eye + rays * travelled)
            travelled = torch.minimum(travelled + rest, leave[0] + 1)
        return torch.where(rest < 0.006, travelled, FAR_AWAY).expand_as(rays)

    nowhere = torch.full_like(rays, FAR_AWAY)
    toy = _where(leave > 0, nowhere, walk, rays, enter[None], leave[None])[0]
    return torch.minimum(toy, floor), toy < floor


def _normals(slots: Sequence[_Slot], points: Tensor) -> Tensor:
    """Differentiate the distance at the corners of a tetrahedron."""
    total = torch.zeros_like(points)
    for corner in ((1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0)):
        direction = _column([corner])
        total = total + direction * _distance(slots, points + 0.002 * direction)
    return total / _dot(total, total).sqrt().clamp(min=1e-6)


def _paint(toys: Sequence[Toy], slots: Sequence[_Slot], points: Tensor, normals: Tensor) -> Tensor:
    """Return the linear colour of points on the toys: their part's paint, with the pattern on the first colour."""
    nearest = torch.stack(list(_distances(slots, points))).argmin(0)
    paint = torch.stack([slot.paint for slot in slots], 2)[:, 0].gather(1, nearest)
    inks = _pattern(toys, points, normals) & (paint == MAIN)
    paint = torch.where(inks, SECOND, paint)
    palette = torch.tensor([[*toy.colours, INK_RGB, PAPER_RGB] for toy in toys]).square().permute(2, 0, 1)
    return palette.gather(2, paint.expand_as(points))


def _pattern(toys: Sequence[Toy], points: Tensor, normals: Tensor) -> Tensor:
    """Return whether points lie on a stripe (level bands) or a dot (a staggered grid along the face's plane)."""
    striped, dotted = (torch.tensor([[toy.pattern == name] for toy in toys]) for name in ("striped", "dotted"))
    x, y, z = points / 0.2
    sideways, upward = normals[0].abs() > normals[2].abs(), normals[1].abs() > 0.75
    u, v = torch.where(sideways & ~upward, z, x), torch.where(upward, z, y)
    u = u + 0.5 * (v.floor() % 2)
    dots = _length(u - u.floor() - 0.5, v - v.floor() - 0.5) < 0.3
    covered: Tensor = (striped & (y - y.floor() < 0.45)) | (dotted & dots)
    return covered


def _backdrop(scenes: Sequence[Scene], points: Tensor, rays: Tensor) -> Tensor:
    """Return the linear colour of a floor that bends into a wall behind the toy, as in a photographer's studio."""
    floor, wall = _column([scene.floor for scene in scenes]), _column([scene.wall for scene in scenes])
    away = -_column([_direction(scene.azimuth, 0.0) for scene in scenes])
    bend = ((_dot(points, away) - 1.6) / 2.2).clamp(0, 1)
    bend = bend * bend * (3 - 2 * bend)
    glow = 1 + 0.5 * rays[1].clamp(-0.35, 0.25)
    return (floor.square() * (1 - bend) + wall.square() * bend) * glow


def _shade(slots: Sequence[_Slot], lights: Tensor, points: Tensor, normals: Tensor) -> Tensor:
    """Return, as three planes, how much light arrives straight (soft shadow), from around (contact shadow), and 1."""
    start = points + 0.03 * normals
    direct = torch.ones_like(start[0])
    travelled = torch.full_like(start[0], 0.03)
    for _ in range(SHADOW_STEPS):
        gap = _distance(slots, start + lights * travelled)
        direct = torch.minimum(direct, (0.5 + 4 * gap / travelled).clamp(0, 1))
        travelled = travelled + gap.clamp(0.03, 0.2)
    above = points + 0.16 * normals
    around = (torch.minimum(_distance(slots, above), above[1]) / 0.16).clamp(0.15, 1)
    return torch.stack([direct * direct * (3 - 2 * direct), around, torch.ones_like(direct)])


def _lit(albedo: Tensor, shade: Tensor, normals: Tensor, rays: Tensor, lights: Tensor, on_toy: Tensor) -> Tensor:
    """Return linear colours (3, toys, rays): light from the sky, straight light, and on toys a highlight."""
    facing = _dot(normals, lights)
    straight = facing.clamp(min=0) * shade[0]
    sky = (0.36 + 0.14 * normals[1]) * shade[1]
    half = lights - rays
    gloss = (_dot(normals, half) / _dot(half, half).sqrt()).clamp(min=0)
    for _ in range(5):
        gloss = gloss.square()  # to the 32nd power
    return albedo * (sky + 0.8 * straight) + 0.22 * gloss * shade[0] * (facing > 0) * on_toy
