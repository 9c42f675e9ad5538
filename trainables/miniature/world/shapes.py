"""The eighteen classes of toys: each is built from solids, with proportions that vary from toy to toy."""

import math
from collections.abc import Callable

from trainables.miniature.world.solids import INK, MAIN, PAPER, SECOND, Part

#: Draws a proportion between a lowest and a highest value.
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


def _mug(u: Uniform) -> list[Part]:
    r, h, grip, thick = u(0.36, 0.48), u(0.38, 0.52), u(0.2, 0.28), u(0.05, 0.075)
    return [
        Part("cylinder", MAIN, (0, h, 0), (r, h, 0.06)),
        Part("torus", SECOND, (0, 2 * h - 0.02, 0), (r - 0.03, 0.05, 0)),
        Part("cylinder", INK, (0, 2 * h - 0.02, 0), (r - 0.05, 0.015, 0.01)),
        Part("torus", SECOND, (r + 0.09, 1.02 * h, 0), (grip, thick, 0), (math.pi / 2, 0, 0)),
        Part("torus", SECOND, (0, 0.06, 0), (r - 0.04, 0.05, 0)),
    ]


def _bear(u: Uniform) -> list[Part]:
    a, b, head, ear, arm = u(0.32, 0.42), u(0.34, 0.42), u(0.29, 0.36), u(0.11, 0.16), u(0.2, 0.28)
    y, swing = 1.7 * b + 0.75 * head, u(0.4, 0.9)
    face = 0.92 * head
    return [
        Part("ellipsoid", MAIN, (0, 0.95 * b, 0), (a, b, 0.85 * a)),
        Part("ellipsoid", PAPER, (0, 0.95 * b, 0.5 * a), (0.62 * a, 0.68 * b, 0.4 * a)),
        Part("ellipsoid", MAIN, (0, y, 0), (head, 0.92 * head, 0.9 * head)),
        Part("ellipsoid", SECOND, (0, y - 0.22 * head, 0.72 * head), (0.42 * head, 0.32 * head, 0.32 * head)),
        Part("ellipsoid", INK, (0, y - 0.1 * head, head), (0.07, 0.05, 0.05)),
        *_pair(Part("ellipsoid", INK, (0.38 * head, y + 0.2 * head, 0.78 * face), (0.045, 0.055, 0.05))),
        *_pair(Part("ellipsoid", SECOND, (0.75 * head, y + 0.75 * head, 0), (ear, ear, 0.6 * ear))),
        *_pair(Part("ellipsoid", MAIN, (a + 0.05, 1.2 * b, 0.08), (0.12, arm, 0.12), (0, 0, swing))),
        *_pair(Part("ellipsoid", SECOND, (0.6 * a, 0.13, 0.55 * a), (0.15, 0.13, 0.24))),
    ]


def _boat(u: Uniform) -> list[Part]:
    hull, deep, wide, funnel, mast = u(0.7, 0.86), u(0.28, 0.36), u(0.26, 0.36), u(0.1, 0.14), u(0.2, 0.3)
    cabin, high = hull * u(0.3, 0.42), u(0.13, 0.19)
    deck = 0.12 + 0.8 * deep
    top = deck + 2 * high
    return [
        Part("ellipsoid", MAIN, (0, 0.1, 0), (hull, deep, wide)),
        Part("box", SECOND, (0, deck - 0.06, 0), (0.72 * hull, 0.05, 0.72 * wide)),
        Part("box", PAPER, (-0.1, deck + high, 0), (cabin, high, 0.55 * wide)),
        Part("box", SECOND, (-0.1, top, 0), (1.15 * cabin, 0.04, 0.68 * wide)),
        *_pair(Part("ellipsoid", INK, (0.05, deck + high, 0.55 * wide), (0.06, 0.06, 0.03)), 2),
        *_pair(Part("ellipsoid", INK, (-0.25, deck + high, 0.55 * wide), (0.06, 0.06, 0.03)), 2),
        Part("cylinder", MAIN, (-0.12, top + mast, 0), (funnel, mast, 0.02)),
        Part("cylinder", INK, (-0.12, top + 2 * mast, 0), (1.06 * funnel, 0.05, 0.01)),
        Part("cylinder", INK, (0.55 * hull, deck + 0.25, 0), (0.03, 0.32, 0.01)),
        Part("box", SECOND, (0.55 * hull + 0.13, deck + 0.48, 0), (0.13, 0.08, 0.015)),
    ]


def _plane(u: Uniform) -> list[Part]:
    long, r, wing, chord, fin = u(0.68, 0.84), u(0.17, 0.24), u(0.6, 0.82), u(0.14, 0.2), u(0.17, 0.26)
    y = r + 0.3
    return [
        Part("ellipsoid", MAIN, (0, y, 0), (long, r, r)),
        Part("box", SECOND, (0.08, y + 0.02, 0), (chord, 0.03, wing)),
        Part("box", SECOND, (-0.82 * long, y + 0.05, 0), (0.09, 0.025, 0.42 * wing)),
        Part("box", SECOND, (-0.85 * long, y + 0.06 + fin, 0), (0.1, fin, 0.025), (0, 0, 0.35)),
        Part("ellipsoid", INK, (0.3 * long, y + 0.7 * r, 0), (0.2, 0.13, 0.12)),
        Part("ellipsoid", INK, (long, y, 0), (0.08, 0.07, 0.07)),
        Part("box", PAPER, (long + 0.03, y, 0), (0.02, 0.3, 0.04), (0.6, 0, 0)),
        *_pair(Part("cylinder", INK, (0.2 * long, 0.11, 0.2), (0.11, 0.05, 0.02), (math.pi / 2, 0, 0)), 2),
        *_pair(Part("cylinder", PAPER, (0.2 * long, 0.22, 0.16), (0.025, 0.16, 0.01), (0.3, 0, 0)), 2),
        Part("ellipsoid", INK, (-0.8 * long, 0.16, 0), (0.06, 0.16, 0.04)),
    ]


def _rabbit(u: Uniform) -> list[Part]:
    a, b, head, ear, lean = u(0.3, 0.38), u(0.34, 0.42), u(0.24, 0.3), u(0.22, 0.32), u(0.08, 0.4)
    y = 1.72 * b + 0.75 * head
    tip = y + 0.8 * head + 0.8 * ear
    return [
        Part("ellipsoid", MAIN, (0, 0.95 * b, 0), (a, b, 0.9 * a)),
        Part("ellipsoid", PAPER, (0, 0.9 * b, 0.55 * a), (0.6 * a, 0.66 * b, 0.4 * a)),
        Part("ellipsoid", MAIN, (0, y, 0.03), (head, 0.95 * head, head)),
        *_pair(Part("ellipsoid", MAIN, (0.42 * head + 0.4 * lean * ear, tip, 0), (0.09, ear, 0.06), (0, 0, -lean))),
        *_pair(
            Part(
                "ellipsoid",
                SECOND,
                (0.42 * head + 0.4 * lean * ear, tip, 0.04),
                (0.055, 0.8 * ear, 0.04),
                (0, 0, -lean),
            )
        ),
        *_pair(Part("ellipsoid", INK, (0.42 * head, y + 0.15 * head, 0.88 * head), (0.045, 0.06, 0.045))),
        Part("ellipsoid", SECOND, (0, y - 0.12 * head, head + 0.03), (0.055, 0.04, 0.04)),
        *_pair(Part("ellipsoid", SECOND, (0.6 * a, 0.1, 0.6 * a), (0.14, 0.1, 0.26))),
        *_pair(Part("ellipsoid", MAIN, (0.8 * a, 1.15 * b, 0.55 * a), (0.09, 0.19, 0.1), (-0.5, 0, 0.3))),
        Part("ellipsoid", PAPER, (0, 0.35 * b, -0.95 * a), (0.13, 0.13, 0.13)),
    ]


def _teapot(u: Uniform) -> list[Part]:
    r, h, spout, grip, knob = u(0.4, 0.5), u(0.34, 0.44), u(0.24, 0.34), u(0.2, 0.27), u(0.06, 0.1)
    top = 1.88 * h
    return [
        Part("ellipsoid", MAIN, (0, 0.96 * h, 0), (r, h, r)),
        Part("cylinder", SECOND, (0, 0.04, 0), (0.62 * r, 0.04, 0.02)),
        Part("ellipsoid", SECOND, (0, top - 0.02, 0), (0.58 * r, 0.1, 0.58 * r)),
        Part("ellipsoid", SECOND, (0, top + 0.08 + 0.6 * knob, 0), (knob, knob, knob)),
        Part("cone", MAIN, (r + 0.55 * spout, 1.1 * h, 0), (0.13, spout, 0.06), (0, 0, -0.85)),
        Part(
            "torus",
            SECOND,
            (r + 0.55 * spout + 0.72 * spout, 1.1 * h + 0.64 * spout, 0),
            (0.06, 0.025, 0),
            (0, 0, -0.85),
        ),
        Part("torus", SECOND, (-r - 0.08, 1.08 * h, 0), (grip, 0.05, 0), (math.pi / 2, 0, 0)),
    ]


def _lamp(u: Uniform) -> list[Part]:
    foot, pole, shade, high, narrow = u(0.26, 0.36), u(0.34, 0.46), u(0.42, 0.56), u(0.2, 0.3), u(0.4, 0.62)
    y = 0.1 + 2 * pole
    return [
        Part("cylinder", SECOND, (0, 0.06, 0), (foot, 0.06, 0.03)),
        Part("ellipsoid", SECOND, (0, 0.14, 0), (0.6 * foot, 0.12, 0.6 * foot)),
        Part("cylinder", INK, (0, pole, 0), (0.045, pole + 0.05, 0.01)),
        Part("ellipsoid", SECOND, (0, 0.1 + pole, 0), (0.09, 0.11, 0.09)),
        Part("cone", MAIN, (0, y + 0.5 * high, 0), (shade, high, narrow * shade)),
        Part("torus", SECOND, (0, y - 0.5 * high, 0), (shade - 0.01, 0.03, 0)),
        Part("torus", SECOND, (0, y + 1.5 * high, 0), (narrow * shade, 0.03, 0)),
        Part("ellipsoid", PAPER, (0, y + 1.6 * high, 0), (0.06, 0.08, 0.06)),
    ]


def _chair(u: Uniform) -> list[Part]:
    w, d, seat, back, leg = u(0.32, 0.42), u(0.3, 0.4), u(0.46, 0.6), u(0.32, 0.46), u(0.045, 0.07)
    feet = [(x, 0.5 * seat, z) for x in (-w + leg, w - leg) for z in (-d + leg, d - leg)]
    return [
        Part("box", MAIN, (0, seat, 0), (w, 0.06, d)),
        Part("ellipsoid", SECOND, (0, seat + 0.07, 0.02), (0.85 * w, 0.09, 0.85 * d)),
        *(Part("cylinder", SECOND, place, (leg, 0.5 * seat, 0.01)) for place in feet),
        *_pair(Part("cylinder", SECOND, (w - leg, seat + back, -d + leg), (leg, back + 0.02, 0.01))),
        Part("box", MAIN, (0, seat + 1.25 * back, -d + leg), (w - leg, 0.55 * back, 0.045)),
        *_pair(Part("ellipsoid", INK, (w - leg, seat + 2 * back + 0.06, -d + leg), (0.07, 0.07, 0.07))),
    ]


def _castle(u: Uniform) -> list[Part]:
    w, d, wall, r, tower = u(0.32, 0.41), u(0.27, 0.35), u(0.25, 0.34), u(0.12, 0.16), u(0.38, 0.48)
    roof, keep = u(0.16, 0.24), u(0.16, 0.22)
    corners = [(x, z) for x in (-w, w) for z in (-d, d)]
    return [
        Part("box", MAIN, (0, wall, 0), (w, wall, d)),
        *(Part("cylinder", MAIN, (x, tower, z), (r, tower, 0.01)) for x, z in corners),
        *(Part("cone", SECOND, (x, 2 * tower + 0.8 * roof, z), (1.3 * r, 0.8 * roof, 0.01)) for x, z in corners),
        Part("box", PAPER, (0, 2 * wall + keep, -0.1), (0.4 * w, keep, 0.4 * d)),
        Part("cone", SECOND, (0, 2 * wall + 2 * keep + roof, -0.1), (0.62 * w, roof, 0.01)),
        Part("box", INK, (0, 0.55 * wall, d), (0.12, 0.55 * wall, 0.02)),
        *_pair(Part("ellipsoid", INK, (0.55 * w, 1.4 * wall, d), (0.05, 0.09, 0.03))),
    ]


def _cat(u: Uniform) -> list[Part]:
    a, b, head, ear, tail = u(0.3, 0.38), u(0.38, 0.46), u(0.27, 0.34), u(0.13, 0.18), u(0.28, 0.38)
    y, z = 1.7 * b + 0.6 * head, 0.12
    return [
        Part("ellipsoid", MAIN, (0, 0.95 * b, -0.05), (a, b, 1.05 * a)),
        Part("ellipsoid", PAPER, (0, 0.95 * b, 0.55 * a), (0.5 * a, 0.62 * b, 0.4 * a)),
        Part("ellipsoid", MAIN, (0, y, z), (1.08 * head, 0.88 * head, 0.9 * head)),
        *_pair(Part("cone", SECOND, (0.62 * head, y + 0.82 * head, z), (0.16, ear, 0.01), (0, 0, -0.3))),
        *_pair(Part("ellipsoid", PAPER, (0.17 * head, y - 0.28 * head, z + 0.78 * head), (0.1, 0.07, 0.07))),
        Part("ellipsoid", INK, (0, y - 0.12 * head, z + 0.93 * head), (0.05, 0.035, 0.04)),
        *_pair(Part("ellipsoid", INK, (0.42 * head, y + 0.15 * head, z + 0.78 * head), (0.055, 0.075, 0.05))),
        *_pair(Part("ellipsoid", SECOND, (0.5 * a, 0.1, 0.85 * a), (0.12, 0.1, 0.18))),
        Part("ellipsoid", SECOND, (a + 0.12, tail, -0.2), (0.075, tail, 0.075), (0, 0, -0.35)),
        Part("ellipsoid", MAIN, (0.6 * a, 0.22, -0.25), (0.4 * a, 0.22, 0.3)),
    ]


#: From a class noun to what builds a toy of it, at most about 1.8 units high and wide.
BUILDERS: dict[str, Callable[[Uniform], list[Part]]] = {
    "robot": _robot,
    "duck": _duck,
    "car": _car,
    "house": _house,
    "rocket": _rocket,
    "mushroom": _mushroom,
    "snowman": _snowman,
    "tree": _tree,
    "mug": _mug,
    "bear": _bear,
    "boat": _boat,
    "plane": _plane,
    "rabbit": _rabbit,
    "teapot": _teapot,
    "lamp": _lamp,
    "chair": _chair,
    "castle": _castle,
    "cat": _cat,
}
