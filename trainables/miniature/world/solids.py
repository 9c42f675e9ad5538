"""The simple solids that toys are built from, as signed distance functions.

Coordinates: y points up, the floor is y = 0, a toy stands on the y axis with its best side towards +z. Every function
is elementwise: a distance depends only on its own point and solid.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from trainables.miniature.world.colours import Vector

Kind = Literal["ellipsoid", "box", "cylinder", "cone", "torus"]

MAIN, SECOND, INK, PAPER = range(4)  # paints: the toy's two colours, and a fixed dark and light
INK_RGB, PAPER_RGB = (0.13, 0.13, 0.16), (0.96, 0.95, 0.91)


class Part(NamedTuple):
    """A solid of a toy.

    `size` holds the semi-axes of an ellipsoid; the half extents of a box; radius, half height and rounding of a
    cylinder; lower radius, half height and upper radius of a cone; radius and tube radius of a torus. Cylinder, cone
    and torus stand along the y axis; `turn` rotates about x, then y, then z, in radians.
    """

    kind: Kind
    paint: int
    centre: Vector
    size: Vector
    turn: Vector = (0.0, 0.0, 0.0)

    def scaled(self, factor: float) -> "Part":
        """Return the part as it is in a toy that is larger by a factor."""
        x, y, z = self.centre
        a, b, c = self.size
        return self._replace(centre=(factor * x, factor * y, factor * z), size=(factor * a, factor * b, factor * c))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the scalar product over the first dimension, which has length 3."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def length(a: Tensor, b: Tensor) -> Tensor:
    """Return the lengths of vectors with two coordinates."""
    return (a * a + b * b).sqrt()


def _ellipsoid(p: Tensor, size: Tensor) -> Tensor:
    scaled = p / size
    inner = dot(scaled, scaled).sqrt()
    scaled = scaled / size
    return inner * (inner - 1) / dot(scaled, scaled).sqrt().clamp(min=1e-6)


def _box(p: Tensor, size: Tensor) -> Tensor:
    rounding = (0.4 * size.amin(0)).clamp(max=0.05)
    beyond = p.abs() - size + rounding
    outside = beyond.clamp(min=0)
    return dot(outside, outside).sqrt() + beyond.amax(0).clamp(max=0) - rounding


def _cylinder(p: Tensor, size: Tensor) -> Tensor:
    radius, half, rounding = size
    side, cap = length(p[0], p[2]) - radius + rounding, p[1].abs() - half + rounding
    distance: Tensor = length(side.clamp(min=0), cap.clamp(min=0)) + torch.maximum(side, cap).clamp(max=0) - rounding
    return distance


def _cone(p: Tensor, size: Tensor) -> Tensor:
    lower, half, upper = size
    radius, taper = length(p[0], p[2]), upper - lower
    cap = radius - torch.minimum(radius, torch.where(p[1] < 0, lower, upper)), p[1].abs() - half
    along = (((upper - radius) * taper + (half - p[1]) * 2 * half) / (taper**2 + 4 * half**2)).clamp(0, 1)
    flank = radius - upper + taper * along, p[1] - half + 2 * half * along
    inside = (flank[0] < 0) & (cap[1] < 0)
    squared = torch.minimum(cap[0] ** 2 + cap[1] ** 2, flank[0] ** 2 + flank[1] ** 2)
    return squared.sqrt() * torch.where(inside, -1.0, 1.0)


def _torus(p: Tensor, size: Tensor) -> Tensor:
    return length(length(p[0], p[2]) - size[0], p[1]) - size[1]


#: Maps points in a solid's frame (3, ...) and its size (3, ...) to signed distances, negative inside.
SOLIDS: dict[Kind, Callable[[Tensor, Tensor], Tensor]] = {
    "ellipsoid": _ellipsoid,
    "box": _box,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
}
