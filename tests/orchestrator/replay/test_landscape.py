"""The landscape: exact at every point."""

import numpy as np
import pytest

from orchestrator.replay.landscape import survey
from orchestrator.study.replayed import Study
from trainables.errors import InvalidInput

MEASURE = "train_clip_image"


@pytest.fixture
def recordings(make_recording):
    """Two concepts, one of them with two seeds."""
    return [make_recording(name, 300, rate=20 + 10 * i, seed=i) for i, name in enumerate(["a", "b", "b"])]


def test_every_point_is_what_a_replay_says(recordings):
    landscape, study = survey(recordings, MEASURE), Study(recordings)
    assert landscape.iterations.shape == (len(landscape.windows), 95)
    rng = np.random.default_rng(0)
    for _ in range(40):
        row, column = rng.integers(len(landscape.windows)), rng.integers(95)
        params = {"window": int(landscape.windows[row]), "threshold": float(landscape.thresholds[column])}
        trial = study.evaluate("dvar", params)
        assert landscape.iterations[row, column] == pytest.approx(trial.iterations)
        assert landscape.quality_kept[row, column] == pytest.approx(trial.quality_kept)


def test_the_front_is_not_beaten(recordings):
    landscape = survey(recordings, MEASURE)
    front = landscape.front()
    assert len(front) > 5
    for row, column in front:
        steps, kept = landscape.iterations[row, column], landscape.quality_kept[row, column]
        beaten = (landscape.iterations <= steps) & (landscape.quality_kept > kept + 1e-9)
        assert not beaten.any()


def test_a_recording_that_cannot_answer(recordings):
    with pytest.raises(InvalidInput, match="lacks the metric 'beauty'"):
        survey(recordings, "beauty")
