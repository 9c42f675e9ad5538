"""The landscape: exact at every point, and drawn."""

import numpy as np
import pytest

from orchestrator.replay import survey
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


def test_no_point_is_missing_from_the_front(recordings):
    landscape = survey(recordings, METRIC)
    rows, columns = np.transpose(landscape.front())
    steps, kept = landscape.iterations[rows, columns], landscape.quality_kept[rows, columns]
    as_good = (steps <= landscape.iterations[..., None]) & (kept >= landscape.quality_kept[..., None] - 1e-9)
    assert as_good.any(axis=-1).all()


def test_a_recording_that_cannot_answer(recordings):
    with pytest.raises(InvalidInput, match="lacks the metric 'beauty'"):
        survey(recordings, "beauty")
