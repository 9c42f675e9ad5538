"""The landscape: exact at every point, and drawn."""

import numpy as np
import pytest
from PIL import Image

from orchestrator.replay import survey
from orchestrator.report.figures.landscape import draw_landscape
from orchestrator.study import Study
from trainables.errors import InvalidInput

METRIC = "train_clip_image"


@pytest.fixture
def recordings(make_recording):
    """Two concepts, the second with two seeds."""
    return [make_recording(name, 300, rate=20 + 10 * i, seed=i) for i, name in enumerate(["a", "b", "b"])]


def test_every_point_is_what_a_replay_says(recordings):
    landscape, study = survey(recordings, METRIC), Study(recordings)
    assert landscape.iterations.shape == (len(landscape.windows), 95)
    rng = np.random.default_rng(0)
    for _ in range(40):
        row, column = rng.integers(len(landscape.windows)), rng.integers(95)
        params = {"window": int(landscape.windows[row]), "threshold": float(landscape.thresholds[column])}
        result = study.evaluate("dvar", params)
        assert landscape.iterations[row, column] == pytest.approx(result.iterations)
        assert landscape.quality_kept[row, column] == pytest.approx(result.quality_kept)


def test_no_point_beats_the_front(recordings):
    landscape = survey(recordings, METRIC)
    front = landscape.front()
    assert len(front) > 5
    for row, column in front:
        steps, kept = landscape.iterations[row, column], landscape.quality_kept[row, column]
        beaten = (landscape.iterations <= steps) & (landscape.quality_kept > kept + 1e-9)
        assert not beaten.any()


def test_the_picture_shows_what_was_chosen(recordings, tmp_path):
    landscape, sizes = survey(recordings, METRIC), []
    for name, chosen in (("with.png", (60, 0.5)), ("without.png", None)):
        draw_landscape(landscape, tmp_path / name, wanted=0.9, usual=(15, 0.15), chosen=chosen, title="DVAR")
        with Image.open(tmp_path / name) as picture:
            colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
            sizes.append(int((np.abs(colours.astype(int) - (255, 90, 54)).sum(axis=1) < 12).sum()))
    assert sizes[0] > 100 > sizes[1]


def test_a_recording_that_cannot_answer(recordings):
    with pytest.raises(InvalidInput, match="lacks the measure 'beauty'"):
        survey(recordings, "beauty")
