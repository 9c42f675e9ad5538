"""The landscape as an interactive page: values under the pointer, and a slider for the quality to keep."""

import json
import re
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from orchestrator.replay.landscape import Landscape
from orchestrator.storage.atomic import write_atomically
from trainables.types import JsonDict

TEMPLATE = "landscape.html"
KEPT_DIGITS, STEPS_DIGITS = 6, 3


def write_landscape_page(
    landscape: Landscape,
    path: Path,
    *,
    target: float,
    default: tuple[float, float],
    chosen: tuple[float, float] | None,
    title: str,
    command: str,
) -> None:
    """Write a landscape as a single HTML file that needs no network and no other file.

    Args:
        landscape: to show.
        path: of the HTML file.
        target: share of the best quality at which the slider begins, 0..1.
        default: window and threshold that were tried first.
        chosen: window and threshold of the best setting; None if another criterion is best.
        title: of the page, plain text.
        command: that runs a cell's setting, quoted for a shell; the page appends --window and --threshold.

    Raises:
        ValueError: a value of the landscape is not finite.
    """
    data = _numbers(landscape, target, default, chosen) | {"command": command}
    parts = {"title": escape(title), "data": _in_script(data)}
    template = (files("orchestrator.report.html") / TEMPLATE).read_text(encoding="utf-8")
    # A single pass, so that a title that looks like a placeholder stays text.
    page = re.sub(r"@@(title|data)@@", lambda place: parts[place[1]], template)
    write_atomically(path, page.encode())


def _numbers(
    landscape: Landscape, target: float, default: tuple[float, float], chosen: tuple[float, float] | None
) -> JsonDict:
    scale = 10**KEPT_DIGITS
    # Rounded down, so that the page never overstates what a setting keeps; the small number compensates for values
    # that lie below their decimal only because of floating-point precision.
    kept = np.floor(landscape.quality_kept * scale + 1e-6) / scale
    return {
        "metric": landscape.metric,
        "budget": int(landscape.budget),
        "target_quality": float(target),
        "default": _point(default),
        "chosen": _point(chosen) if chosen else None,
        "windows": landscape.windows.tolist(),
        "thresholds": landscape.thresholds.round(KEPT_DIGITS).tolist(),
        "iterations": landscape.iterations.round(STEPS_DIGITS).tolist(),
        "quality_kept": kept.tolist(),
        "front": landscape.front(),
    }


def _point(setting: tuple[float, float]) -> dict[str, float]:
    window, threshold = setting
    return {"window": int(window), "threshold": round(float(threshold), KEPT_DIGITS)}


def _in_script(data: JsonDict) -> str:
    """Return JSON without characters that could end a script element or begin a comment in it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
