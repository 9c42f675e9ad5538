"""Renders toys in scenes by marching signed distance fields, in batches, on the CPU or a GPU.

Nothing here draws random numbers, and every operation is elementwise over the batch: an image depends only on its own
toy and scene, and is the same on every device except for rounding. Vectors lie along the first dimension:
(3, images, rays).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple, get_args

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from trainables.errors import InvalidInput
from trainables.miniature.world.colours import Vector
from trainables.miniature.world.scenes import PLACES, Scene, direction
from trainables.miniature.world.solids import INK_RGB, MAIN, PAPER_RGB, SECOND, SOLIDS, Kind, Part, dot, length
from trainables.miniature.world.toys import MATERIALS, PATTERNS, Toy

TARGET: Vector = (0.0, 0.72, 0.0)  # where the camera looks
FOCAL, FAR_AWAY = 3.3, 99.0
MARCH_STEPS, SHADOW_STEPS = 28, 16
TIGHT, PENUMBRA = 0.02, 0.35  # margins of the box around a toy: for rays that hit it, and for what it shades
STAND_IN = Part("ellipsoid", MAIN, (0, FAR_AWAY, 0), (1, 1, 1))  # fills the slots that a toy does not need
GLOSS = {"plastic": 0.22, "matte": 0.0, "shiny": 0.75, "metal": 0.4}  # how strong a material's highlight is


@torch.no_grad()
def render(toys: Sequence[Toy], scenes: Sequence[Scene], size: int = 64, device: torch.device | str = "cpu") -> Tensor:
    """Render each toy in its scene.

    Args:
        toys: a toy per image; classes may differ. A toy without parts shows the bare backdrop.
        scenes: a scene per image.
        size: height and width in pixels; each pixel averages four rays.
        device: where to compute.

    Returns:
        images_bchw: (toys, 3, size, size), float32, sRGB in 0..1, on the device.

    Raises:
        InvalidInput: there is no toy, the numbers of toys and scenes differ, or the size is below 1.
    """
    if not toys or len(toys) != len(scenes) or size < 1:
        counts = f"{len(toys)} toys, {len(scenes)} scenes, size {size}"
        raise InvalidInput(f"need at least one toy, as many scenes as toys, and size >= 1; got {counts}")
    images_bchw = torch.empty(len(toys), 3, size, size, device=device)
    for indices in _groups(toys, (16 if torch.device(device).type == "cpu" else 1024) * 64**2 // size**2):
        with torch.device(device):
            linear = _trace(_Toys([toys[i] for i in indices]), [scenes[i] for i in indices], 2 * size)
        fine_bchw = linear.permute(1, 0, 2).reshape(len(indices), 3, 2 * size, 2 * size)
        # Colours are squared on the way in: a gamma of 2.
        images_bchw[indices] = F.avg_pool2d(fine_bchw, 2).clamp(0, 1).sqrt()
    return images_bchw


def _groups(toys: Sequence[Toy], at_most: int) -> Iterator[list[int]]:
    """Yield indices of toys of the same class, which have about the same solids."""
    at_most = max(1, at_most)
    for noun in sorted({toy.noun for toy in toys}):
        indices = [i for i, toy in enumerate(toys) if toy.noun == noun]
        yield from (indices[start : start + at_most] for start in range(0, len(indices), at_most))


def render_images(
    toys: Sequence[Toy], scenes: Sequence[Scene], size: int = 64, device: torch.device | str = "cpu"
) -> list[Image.Image]:
    """Render each toy in its scene, with the arguments and errors of `render`, as Pillow images."""
    pixels = to_uint8(render(toys, scenes, size, device)).permute(0, 2, 3, 1).cpu().contiguous()
    return [Image.fromarray(image.numpy()) for image in pixels]


def to_uint8(images_bchw: Tensor) -> Tensor:
    """Return images with values in 0..1 as bytes, in the same shape."""
    return images_bchw.mul(255).round().to(torch.uint8)


def _trace(toys: "_Toys", scenes: Sequence[Scene], side: int) -> Tensor:
    """Return the linear colour of every ray: (3, scenes, side * side)."""
    eye, rays = _camera(scenes, side)
    depth, on_toy = _march(toys, eye, rays)
    points = eye + rays * depth
    lights = _column([scene.light for scene in scenes])
    normals = _column([(0.0, 1.0, 0.0)]).expand_as(points).clone()
    normals = _where(on_toy, normals, lambda spots: _normals(toys, spots), points)
    albedo = _backdrop(scenes, points, rays)
    albedo = _where(on_toy, albedo, lambda *spots: _paint(toys, *spots), points, normals)
    enter, leave = _crossing(toys, points, lights, PENUMBRA)
    near = on_toy | (leave > enter)
    shade = _where(near, torch.ones_like(points), lambda *spots: _shade(toys, lights, *spots), points, normals)
    return _lit(toys, albedo, shade, normals, rays, lights, on_toy)


class _Slot(NamedTuple):
    """The n-th part of a kind, for every toy: centre and size (3, toys, 1), rotation rows (3, 3, toys, 1)."""

    kind: Kind
    centre: Tensor
    size: Tensor
    rotation: Tensor
    paint: Tensor


class _Toys:
    """The toys of a batch as tensors: parts by kind, and looks, with a column per image."""

    def __init__(self, toys: Sequence[Toy]) -> None:
        distinct = list({id(toy): toy for toy in toys}.values())
        index = {id(toy): i for i, toy in enumerate(distinct)}
        where = torch.tensor([index[id(toy)] for toy in toys])
        self.slots = [
            _Slot(slot.kind, *(field.index_select(-2, where) for field in slot[1:])) for slot in _slots(distinct)
        ]
        self.lower, self.upper = _bounds(self.slots)
        palette = torch.tensor([[*toy.colours, INK_RGB, PAPER_RGB] for toy in toys])
        self.palette = palette.square().permute(2, 0, 1)
        self.period = torch.tensor([[toy.period] for toy in toys])
        self.pattern = torch.tensor([[PATTERNS.index(toy.pattern)] for toy in toys])
        self.gloss = torch.tensor([[GLOSS[toy.material]] for toy in toys])
        self.is_metal = torch.tensor([[MATERIALS.index(toy.material)] for toy in toys]) == MATERIALS.index("metal")


def _column(vectors: Sequence[Vector]) -> Tensor:
    return torch.tensor(vectors, dtype=torch.float32).T[:, :, None]


def _slots(toys: Sequence[Toy]) -> list[_Slot]:
    """Stack the toys' parts kind by kind; where a toy has fewer than another, an ellipsoid far away stands in."""
    slots = []
    for kind in get_args(Kind):
        rows = zip_longest(*([part for part in toy.parts if part.kind == kind] for toy in toys))
        slots += [_slot(kind, [part or STAND_IN for part in row]) for row in rows]
    return slots or [_slot("ellipsoid", [STAND_IN] * len(toys))]


def _slot(kind: Kind, parts: Sequence[Part]) -> _Slot:
    turn = torch.tensor([part.turn for part in parts], dtype=torch.float64)
    return _Slot(
        kind,
        _column([part.centre for part in parts]),
        _column([part.size for part in parts]),
        _rotations(turn).float()[..., None],
        torch.tensor([part.paint for part in parts])[:, None],
    )


def _bounds(slots: Sequence[_Slot]) -> tuple[Tensor, Tensor]:
    """Return the corners (3, toys, 1) of boxes around the toys."""
    lower, upper = [], []
    for slot in slots:
        reach = _half_extents(slot.kind, slot.size)
        around = (slot.rotation.abs() * reach[:, None]).sum(0)
        is_real = slot.centre[1] < FAR_AWAY / 2
        lower.append(torch.where(is_real, slot.centre - around, FAR_AWAY))
        upper.append(torch.where(is_real, slot.centre + around, -FAR_AWAY))
    return torch.stack(lower).amin(0), torch.stack(upper).amax(0)


def _half_extents(kind: Kind, size: Tensor) -> Tensor:
    """Return half the width, height and depth of solids in their own frames."""
    a, b, c = size
    match kind:
        case "cylinder":
            return torch.stack([a, b, a])
        case "cone":
            return torch.stack([torch.maximum(a, c), b, torch.maximum(a, c)])
        case "torus":
            return torch.stack([a + b, b, a + b])
        case _:
            return size


def _rotations(turn: Tensor) -> Tensor:
    """Return the rows (3, 3, parts) of the matrices that take points into the frames of parts turned by x, y, z."""
    (a, c, e), (b, d, f) = turn.cos().T, turn.sin().T
    rows = (
        (e * c, e * d * b + f * a, -e * d * a + f * b),
        (-f * c, -f * d * b + e * a, f * d * a + e * b),
        (d, -c * b, c * a),
    )
    return torch.stack([torch.stack(row) for row in rows])


def _distances(toys: _Toys, points: Tensor) -> Iterator[Tensor]:
    """Yield the signed distance (toys, points) of points (3, toys, points) to each slot."""
    for slot in toys.slots:
        moved = points - slot.centre
        local = torch.stack([dot(row, moved) for row in slot.rotation])
        yield SOLIDS[slot.kind](local, slot.size)


def _distance(toys: _Toys, points: Tensor) -> Tensor:
    nearest = torch.full_like(points[0], FAR_AWAY)
    for distance in _distances(toys, points):
        nearest = torch.minimum(nearest, distance)
    return nearest


def _where(mask: Tensor, base: Tensor, compute: Callable[..., Tensor], *fields: Tensor) -> Tensor:
    """Replace `base` (3, toys, rays) by `compute(*fields)` where the mask (toys, rays) holds, computing only there."""
    index = mask.byte().argsort(dim=1, descending=True, stable=True)[:, : int(mask.sum(1).max())]
    index = index.expand(3, *index.shape)
    values = compute(*(field.expand_as(base).gather(2, index) for field in fields))
    return torch.where(mask, base.scatter(2, index, values), base)


def _camera(scenes: Sequence[Scene], side: int) -> tuple[Tensor, Tensor]:
    """Return the eyes (3, scenes, 1) and the unit directions of side * side rays (3, scenes, rays)."""
    back = _column([direction(scene.azimuth, scene.elevation) for scene in scenes])
    right = _column([direction(scene.azimuth + torch.pi / 2, 0.0) for scene in scenes])
    up = torch.linalg.cross(back, right, dim=0)
    across = (torch.arange(side, dtype=torch.float32) + 0.5) * (2 / side) - 1
    rays = across.repeat(side) * right - across.repeat_interleave(side) * up - FOCAL * back
    distance = torch.tensor([[scene.distance] for scene in scenes], dtype=torch.float32)
    aside = torch.tensor([[scene.aside] for scene in scenes], dtype=torch.float32)
    return _column([TARGET]) + distance * back - aside * right, rays / dot(rays, rays).sqrt()


def _crossing(toys: _Toys, origin: Tensor, rays: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Return where rays enter and leave the box around a toy, in units along them; leaving comes first for a miss."""
    slope = torch.where(rays.abs() < 1e-6, 1e-6, rays)
    sides = torch.stack([(toys.lower - margin - origin) / slope, (toys.upper + margin - origin) / slope])
    return sides.amin(0).amax(0).clamp(min=0), sides.amax(0).amin(0)


def _march(toys: _Toys, eye: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Return each ray's depth (toys, rays), to the toy or the floor and at most 30 units, and whether on the toy."""
    floor = torch.where(rays[1] < -1e-3, -eye[1] / rays[1], 30.0).clamp(max=30)
    enter, leave = _crossing(toys, eye, rays, TIGHT)

    def walk(rays: Tensor, enter: Tensor, leave: Tensor) -> Tensor:
        travelled, rest = enter[0], torch.zeros_like(enter[0])
        for _ in range(MARCH_STEPS):
            rest = _distance(toys, eye + rays * travelled)
            travelled = torch.minimum(travelled + rest, leave[0] + 0.1)
        return torch.where(rest < 0.006, travelled, FAR_AWAY).expand_as(rays)

    nowhere = torch.full_like(rays, FAR_AWAY)
    toy = _where(leave > enter, nowhere, walk, rays, enter[None], leave[None])[0]
    return torch.minimum(toy, floor), toy < floor


def _normals(toys: _Toys, points: Tensor) -> Tensor:
    """Differentiate the distance at the corners of a tetrahedron."""
    total = torch.zeros_like(points)
    for corner in ((1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0)):
        way = _column([corner])
        total = total + way * _distance(toys, points + 0.002 * way)
    return total / dot(total, total).sqrt().clamp(min=1e-6)


def _paint(toys: _Toys, points: Tensor, normals: Tensor) -> Tensor:
    """Return the linear colour of points on the toys: their part's paint, with the pattern on the first colour."""
    nearest = torch.stack(list(_distances(toys, points))).argmin(0)
    paint = torch.stack([slot.paint for slot in toys.slots], 2)[:, 0].gather(1, nearest)
    paint = torch.where(_pattern(toys, points, normals) & (paint == MAIN), SECOND, paint)
    return toys.palette.gather(2, paint.expand_as(points))


def _pattern(toys: _Toys, points: Tensor, normals: Tensor) -> Tensor:
    """Return whether points lie on a stripe (level bands), a dot (a staggered grid) or a dark square."""
    striped, dotted, checkered = (toys.pattern == PATTERNS.index(name) for name in ("striped", "dotted", "checkered"))
    x, y, z = points / toys.period
    sideways, upward = normals[0].abs() > normals[2].abs(), normals[1].abs() > 0.75
    u, v = torch.where(sideways & ~upward, z, x), torch.where(upward, z, y)
    staggered = u + 0.5 * (v.floor() % 2)
    dots = length(staggered - staggered.floor() - 0.5, v - v.floor() - 0.5) < 0.3
    squares = (u.floor() + v.floor()) % 2 == 0
    covered: Tensor = (striped & (y - y.floor() < 0.45)) | (dotted & dots) | (checkered & squares)
    return covered


def _backdrop(scenes: Sequence[Scene], points: Tensor, rays: Tensor) -> Tensor:
    """Return the linear colour of a floor that bends into a wall or sky behind the toy."""
    floor, wall = (_column([getattr(scene, name) for scene in scenes]).square() for name in ("floor", "wall"))
    place = torch.tensor([[tuple(PLACES).index(scene.place)] for scene in scenes])
    away = -_column([direction(scene.azimuth, 0.0) for scene in scenes])
    far = dot(points, away)
    floor = _textured(floor, place, points)
    sea = _smooth((far - 2.1) / 0.3) * (place == tuple(PLACES).index("beach"))
    floor = floor + sea * (_column([(0.02, 0.28, 0.42)]) - floor)
    wall = wall + _stars(rays) * (place == tuple(PLACES).index("night"))
    bend = _smooth((far - 1.6) / 2.2)
    outside = _smooth((far - 3.2) / 0.5)  # a horizon instead of a studio's bend
    bend = torch.where(place == tuple(PLACES).index("room"), bend, outside)
    return (floor * (1 - bend) + wall * bend) * (1 + 0.5 * rays[1].clamp(-0.35, 0.25))


def _smooth(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def _textured(floor: Tensor, place: Tensor, points: Tensor) -> Tensor:
    """Return the floor's linear colour with its place's texture; sines, which every device computes alike."""
    x, _, z = points.clamp(-6, 6)
    sand = (
        0.09 * (17 * x + 5 * (3 * z).sin()).sin() * (19 * z + 4 * (2 * x).sin()).sin()
        + 0.06 * (4 * z + 2 * x.sin()).sin()
    )
    drifts = 0.10 * (1.7 * x + 0.6 * z).sin() * (2.1 * z - 0.4 * x).sin() - 0.05
    blades = 0.25 * (11 * x + 3 * (4 * z).sin()).sin() * (10 * z + 3 * (3 * x).sin()).sin()
    planks = 0.10 * (2 * x + 3 * (9 * z).sin()).sin() - 0.55 * _smooth(((z * 7.5).cos() - 0.9) / 0.1)
    squares = -0.8 * (((2.2 * x).floor() + (2.2 * z).floor()) % 2)
    tones = {"beach": sand, "snow": drifts, "grass": blades, "table": planks, "checkerboard": squares}
    factor = torch.ones_like(x)
    for name, tone in tones.items():
        factor = torch.where(place == tuple(PLACES).index(name), 1 + tone, factor)
    return floor * factor


def _stars(rays: Tensor) -> Tensor:
    return _smooth(((31 * rays[0] + 7 * rays[1]).sin() * (37 * rays[1] - 5 * rays[2]).sin() - 0.9) / 0.1)


def _shade(toys: _Toys, lights: Tensor, points: Tensor, normals: Tensor) -> Tensor:
    """Return, as three planes, how much light arrives straight (soft shadow), from around (contact shadow), and 1."""
    start = points + 0.03 * normals
    direct = torch.ones_like(start[0])
    travelled = torch.full_like(start[0], 0.03)
    for _ in range(SHADOW_STEPS):
        gap = _distance(toys, start + lights * travelled)
        direct = torch.minimum(direct, (0.5 + 4 * gap / travelled).clamp(0, 1))
        travelled = travelled + gap.clamp(0.03, 0.2)
    above = points + 0.16 * normals
    around = (torch.minimum(_distance(toys, above), above[1]) / 0.16).clamp(0.15, 1)
    return torch.stack([_smooth(direct), around, torch.ones_like(direct)])


def _lit(
    toys: _Toys, albedo: Tensor, shade: Tensor, normals: Tensor, rays: Tensor, lights: Tensor, on_toy: Tensor
) -> Tensor:
    """Return linear colours (3, toys, rays): light from the sky, straight light, and what a toy's material mirrors."""
    facing = dot(normals, lights)
    straight = 0.8 * facing.clamp(min=0) * shade[0] + (0.36 + 0.14 * normals[1]) * shade[1]
    mirrored = rays[1] - 2 * dot(normals, rays) * normals[1]
    sheen = 0.25 + 1.1 * _smooth((mirrored + 0.1) / 0.5) * shade[1] + 0.25 * _smooth((-0.45 - mirrored) / 0.3)
    straight = torch.where(toys.is_metal & on_toy, 0.3 * straight + 0.7 * sheen, straight)
    half = lights - rays
    gloss = (dot(normals, half) / dot(half, half).sqrt()).clamp(min=0)
    for _ in range(5):
        gloss = gloss.square()  # to the 32nd power
    return albedo * straight + toys.gloss * gloss * shade[0] * (facing > 0) * on_toy
