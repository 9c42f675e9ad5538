"""QualityCurve: the quality between snapshots, the best of a course, and the noise of the scores."""

import dataclasses

import numpy as np
import pytest

from orchestrator.criteria import FewIterations
from orchestrator.recordings.recording import Quality
from orchestrator.replay import replay
from orchestrator.replay.quality import quality_curve, score_noise
from trainables.errors import InvalidInput

METRIC, BUDGET = "train_clip_image", 1000


def rising(time_constant):
    """Return a course that a run may have: it starts at 60 % and approaches 100 % exponentially."""
    return lambda steps: 1 - 0.4 * np.exp(-np.asarray(steps) / (time_constant * BUDGET))


def rising_and_falling(steps):
    return rising(0.15)(steps) - 0.08 * np.clip(np.asarray(steps) / BUDGET - 0.4, 0, None) ** 2 / 0.36


def with_scores(recording, steps, scores, **facts):
    quality = Quality(np.asarray(steps), {METRIC: np.asarray(scores, dtype=float)}, np.ones(len(steps)))
    return dataclasses.replace(recording, quality=quality, facts={**recording.facts, **facts})


@pytest.fixture(scope="module")
def grids():
    return {every: np.arange(0, BUDGET + 1, every) for every in (20, 25, 40, 50, 100)}


@pytest.mark.parametrize("course", [rising(0.1), rising(0.19), rising(0.3), rising_and_falling])
def test_the_grid_of_the_snapshots_does_not_matter(make_recording, grids, course):
    recording, stops = make_recording(budget=BUDGET), np.arange(100, BUDGET + 1)
    truth = course(stops) / course(np.arange(BUDGET + 1)).max()
    for every, steps in grids.items():
        kept = quality_curve(with_scores(recording, steps, course(steps)), METRIC).kept_at_every_step
        assert np.abs(kept[stops] - truth).max() < 0.003, every


def test_nothing_is_gained_by_stopping_at_a_snapshot(make_recording, grids):
    course = rising(0.19)
    recording = with_scores(make_recording(budget=BUDGET), grids[50], course(grids[50]))
    kept = [replay(FewIterations(stop), recording).quality_kept for stop in (250, 299, 300, 301)]
    assert kept == pytest.approx([course(stop) / course(BUDGET) for stop in (250, 299, 300, 301)], abs=0.002)
    assert kept[1] - kept[0] > 40 * (kept[2] - kept[1]) > 0


def test_the_best_is_not_the_luckiest_score(make_recording, grids):
    """The expected maximum of 21 noisy scores of a constant is 1.9 deviations above it."""
    best = []
    for seed in range(200):
        noisy = 1 + 0.03 * np.random.default_rng(seed).normal(size=len(grids[50]))
        best.append(quality_curve(with_scores(make_recording(budget=BUDGET), grids[50], noisy), METRIC).best)
    assert 1.0 < np.mean(best) < 1.04


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_snapshots_are_taken_as_they_are(make_recording, count):
    steps, scores = np.array([0, 600, 1000])[:count], np.array([0.4, 0.9, 0.8])[:count]
    curve = quality_curve(with_scores(make_recording(budget=BUDGET), steps, scores), METRIC)
    assert curve.at_every_step[steps] == pytest.approx(scores)
    assert curve.at_every_step[-1] == pytest.approx(scores[-1])
    assert curve.best == pytest.approx(scores.max())


def test_nothing_is_known_before_the_first_snapshot(make_recording):
    steps = np.arange(200, BUDGET + 1, 100)
    curve = quality_curve(with_scores(make_recording(budget=BUDGET), steps, rising(0.2)(steps)), METRIC)
    assert np.isnan(curve.at_every_step[:200]).all()
    assert np.isfinite(curve.at_every_step[200:]).all()


@pytest.mark.parametrize(
    ("scores", "message"),
    [([0.5, np.nan, 0.7], "not finite"), ([-0.5, -0.2, 0.0], "a share of it has no meaning"), ([], "no quality snap")],
)
def test_scores_without_a_course(make_recording, scores, message):
    recording = with_scores(make_recording(budget=BUDGET), np.arange(len(scores)) * 100, scores)
    with pytest.raises(InvalidInput, match=message):
        quality_curve(recording, METRIC)


def test_the_noise_of_scores_is_read_off_repeated_ones_or_estimated_from_the_course(make_recording, grids):
    """On a known course with a known noise, the estimate is right within 5 % on average."""
    rng, course = np.random.default_rng(0), rising(0.19)
    recordings = [
        with_scores(make_recording(budget=BUDGET), grids[50], course(grids[50]) + 0.02 * rng.normal(size=21))
        for _ in range(100)
    ]
    noises = [score_noise(recording, METRIC) for recording in recordings]
    assert {noise.source for noise in noises} == {"residual"}
    assert np.sqrt(np.mean([noise.std**2 for noise in noises])) == pytest.approx(0.02, rel=0.05)
    repeated = with_scores(recordings[0], grids[50], course(grids[50]), repeated_scores={METRIC: [0.7, 0.8, 0.9]})
    noise = score_noise(repeated, METRIC)
    assert (noise.source, noise.count, noise.std) == ("repeated", 3, pytest.approx(0.1))
    assert score_noise(with_scores(recordings[0], [0, 500], [0.5, 0.6]), METRIC) is None
