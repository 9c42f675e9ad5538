"""What the landscape's page draws, in a stand-in for a browser: boundary, marks and front lie where the numbers say."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from orchestrator.replay.landscape import Landscape
from orchestrator.report.html.landscape import write_landscape_page

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="the page's script needs Node.js to run outside of a browser")

# Windows double, so that a row is as high as any other on a logarithmic axis.
WINDOWS, THRESHOLDS = np.array([10, 20, 40]), np.array([0.1, 0.2, 0.3, 0.4])
STEPS = np.array([[40.0, 30.0, 20.0, 10.0], [80.0, 70.0, 60.0, 50.0], [160.0, 150.0, 140.0, 130.0]])
COMMAND = "dvar run --method 'my methods:<b>$x</b>' --budget 200"
KEPT = np.array([[0.90, 0.80, 0.70, 0.60], [0.95, 0.92, 0.85, 0.75], [0.99, 0.98, 0.97, 0.96]])


@pytest.fixture
def draw(tmp_path):
    """Write a page, run its script, and return what it drew; `moved_to` is where the slider is put, in percent."""

    def draw(*, target=0.9, chosen=(20, 0.2), moved_to=None):
        landscape, page = Landscape(WINDOWS, THRESHOLDS, STEPS, KEPT, 200, "train_clip_image"), tmp_path / "page.html"
        marks = {"target": target, "default": (40, 0.1), "chosen": chosen}
        write_landscape_page(landscape, page, **marks, title="DVAR", command=COMMAND)
        command = [NODE, str(Path(__file__).with_name("page_dom.js")), str(page)]
        command += [] if moved_to is None else [str(moved_to)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not shown.stderr
        return json.loads(shown.stdout)

    return draw


def edges(panel):
    """Return the boundary's edges in cells: (column, row) of both ends, counted from the plane's lower left."""
    plane, drawn = panel["plane"], set()
    assert len(panel["boundary"]) <= 1
    for x, y, way, end in re.findall(r"M([\d.]+) ([\d.]+)([VH])([\d.]+)", "".join(panel["boundary"])):
        to = (x, end) if way == "V" else (end, y)
        drawn.add(tuple(sorted(in_cells(plane, *map(float, point)) for point in ((x, y), to))))
    return drawn


def in_cells(plane, x, y):
    across = (x - plane["x"]) / plane["width"] * len(THRESHOLDS)
    up = (plane["y"] + plane["height"] - y) / plane["height"] * len(WINDOWS)
    return round(across, 1), round(up, 1)


def marked(panel, name):
    """Return (column, row) of the cells whose centres hold a mark."""
    return {tuple(value - 0.5 for value in in_cells(panel["plane"], *at)) for at in panel["marks"].get(name, [])}


def test_the_boundary_runs_between_what_keeps_enough_and_what_does_not(draw):
    """At 90 %, one cell of the lowest row keeps enough, two of the next, and all of the highest."""
    expected = {((1, 0), (1, 1)), ((1, 1), (2, 1)), ((2, 1), (2, 2)), ((2, 2), (3, 2)), ((3, 2), (4, 2))}
    for panel in draw()["panels"].values():
        assert edges(panel) == expected


def test_the_slider_moves_the_boundary(draw):
    shown = draw(moved_to=97.5)
    for panel in shown["panels"].values():
        assert edges(panel) == {((0, 2), (1, 2)), ((1, 2), (2, 2)), ((2, 2), (2, 3))}
    assert shown["fewest"] == ["40", "0.2", "150.0", "75.0 %", "98.0 %"]


@pytest.mark.parametrize(("target", "name"), [(0.5, "every"), (1.0, "no")])
def test_without_a_boundary_none_is_drawn(draw, target, name):
    shown = draw(target=target)
    assert [panel["boundary"] for panel in shown["panels"].values()] == [[], []]
    assert f"{name} setting" in shown["names"]["boundary-name"]


def test_marks_lie_at_their_settings(draw):
    """Of the settings that keep 90 %, N 10 with alpha 0.1 needs the fewest steps."""
    shown = draw()
    for panel in shown["panels"].values():
        assert marked(panel, "default") == {(0, 2)}
        assert marked(panel, "chosen") == {(1, 1)}
        assert marked(panel, "fewest") == {(0, 0)}
    assert shown["fewest"] == ["10", "0.1", "40.0", "20.0 %", "90.0 %"]
    assert shown["command"] == f"{COMMAND} --window 10 --threshold 0.1"
    for panel in draw(chosen=None)["panels"].values():
        assert marked(panel, "chosen") == set()


def test_the_front_holds_what_none_beats(draw):
    """All of the lowest and of the highest row; of the middle one what keeps more than 90 % in fewer steps."""
    expected = {(3, 0), (2, 0), (1, 0), (0, 0), (1, 1), (0, 1), (3, 2), (2, 2), (1, 2), (0, 2)}
    for panel in draw()["panels"].values():
        assert marked(panel, "front") == expected


def test_axes_and_colour_scales_hold_the_data(draw):
    panels = draw()["panels"]
    for panel in panels.values():
        assert {"threshold alpha", "window N, steps", "0.1", "0.4", "10", "20"} <= set(panel["texts"])
    assert {"20", "40", "60", "80"} <= set(panels["steps"]["texts"])
    assert {"60", "70", "80", "90"} <= set(panels["kept"]["texts"])
