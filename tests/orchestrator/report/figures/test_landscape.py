"""The landscape's picture: boundary, marks and colours lie where the numbers say."""

import numpy as np
import pytest
from matplotlib.contour import QuadContourSet
from PIL import Image

from orchestrator.replay.landscape import Landscape
from orchestrator.report.figures.landscape import draw_landscape, landscape_figure

WINDOWS, THRESHOLDS, BUDGET = np.array([10, 20, 40, 80]), np.linspace(0.1, 0.9, 9), 200


@pytest.fixture
def landscape():
    """Quality falls linearly with the threshold alone: 0.9 is kept up to a threshold of 0.35 whatever the window."""
    kept = np.tile(1.0 - (THRESHOLDS - 0.1) * 0.4, (4, 1))
    steps = np.tile(BUDGET * (1.0 - THRESHOLDS), (4, 1)) + WINDOWS[:, None] / 10
    return Landscape(WINDOWS, THRESHOLDS, steps, kept, BUDGET, "train_clip_image")


@pytest.fixture
def panels(landscape):
    """Draw, and return the two panels."""

    def make(**changes):
        options = {"target": 0.9, "default": (15, 0.15), "chosen": (60, 0.5), "title": "DVAR"} | changes
        return landscape_figure(landscape, **options).axes[:2]

    return make


def contours(axes):
    return [artist for artist in axes.collections if isinstance(artist, QuadContourSet)]


def marks(axes, label):
    return [tuple(np.ravel(line.get_xydata())) for line in axes.lines if line.get_label() == label]


def test_the_boundary_lies_where_just_enough_is_kept(panels):
    for axes in panels():
        (contour,) = contours(axes)
        assert contour.levels.tolist() == [0.9]
        (path,) = contour.get_paths()
        assert path.vertices[:, 0] == pytest.approx(0.35)
        assert {10.0, 80.0} <= set(path.vertices[:, 1])


@pytest.mark.parametrize(("target", "threshold"), [(0.82, 0.55), (0.94, 0.25)])
def test_the_boundary_follows_the_target_and_is_seen(panels, target, threshold):
    left, right = panels(target=target)
    left.figure.canvas.draw()
    pixels = np.asarray(left.figure.canvas.buffer_rgba())[..., :3]
    for axes in (left, right):
        (contour,) = contours(axes)
        assert contour.levels.tolist() == [target]
        assert contour.get_paths()[0].vertices[:, 0] == pytest.approx(threshold)
        x, y = axes.transData.transform((threshold, 30)).round().astype(int)
        around = pixels[len(pixels) - y, x - 4 : x + 5].astype(int)
        assert around.min(axis=1).max() > 200  # a white line
        assert around.max(axis=1).min() < 60  # between black rims


@pytest.mark.parametrize("target", [0.6, 1.01])
def test_without_a_boundary_none_is_drawn(panels, target):
    assert [contours(axes) for axes in panels(target=target)] == [[], []]


def test_what_was_tried_first_and_what_was_chosen_are_marked(panels):
    for axes in panels():
        assert marks(axes, "tried first") == [(0.15, 15)]
        assert marks(axes, "chosen") == [(0.5, 60)]
    for axes in panels(chosen=None):
        assert marks(axes, "chosen") == []


def test_the_front_holds_what_none_beats(panels):
    """The smallest window needs the fewest steps and keeps as much as any other."""
    expected = [(threshold, WINDOWS[0]) for threshold in THRESHOLDS[::-1]]
    for axes in panels():
        (points,) = marks(axes, "no setting is better in both")
        assert points == pytest.approx(np.ravel(expected))


def test_colours_hold_the_numbers_and_axes_say_what_they_are(panels, landscape):
    left, right = panels()
    assert np.asarray(left.collections[0].get_array()).ravel() == pytest.approx(
        100 * landscape.iterations.ravel() / BUDGET
    )
    assert np.asarray(right.collections[0].get_array()).ravel() == pytest.approx(100 * landscape.quality_kept.ravel())
    assert (left.get_ylabel(), left.get_yscale()) == ("window N, steps", "log")
    assert {axes.get_xlabel() for axes in (left, right)} == {"threshold alpha"}
    assert [axes.get_title() for axes in (left, right)] == ["steps, % of the budget", "% of the best train_clip_image"]


def test_the_file_shows_the_figure(panels, landscape, tmp_path):
    draw_landscape(landscape, tmp_path / "x.png", target=0.9, default=(15, 0.15), chosen=(60, 0.5), title="DVAR")
    canvas = panels()[0].figure.canvas
    canvas.draw()
    with Image.open(tmp_path / "x.png") as picture:
        assert np.array_equal(picture.convert("RGB"), np.asarray(canvas.buffer_rgba())[..., :3])
