"""Replay: the stop, its seconds and the quality it keeps."""

import dataclasses

import numpy as np
import pytest

from orchestrator.criteria import DVAR, Never
from orchestrator.replay import Outcome, Summary, live_outcome, replay
from trainables.errors import InvalidInput


def test_never_counts_the_full_budget_without_the_time_of_l_det(make_recording):
    outcome = replay(Never(), make_recording(budget=50, step_seconds=0.5, l_det_seconds=0.25))
    assert (outcome.stop_step, outcome.stopped, outcome.share) == (50, False, 1.0)
    assert outcome.seconds == pytest.approx(25)


def test_dvar_pays_for_l_det_and_keeps_the_last_snapshot_before_its_stop(make_recording):
    recording = make_recording(budget=50, step_seconds=0.5, l_det_seconds=0.25, every=10)
    criterion = DVAR(8, 0.15)
    outcome = replay(criterion, recording)
    stop = criterion.first_stop(recording.steps.l_det)
    assert outcome.stop_step == stop < 50
    assert outcome.seconds == pytest.approx(0.75 * stop)
    scores = recording.quality.scores["train_clip_image"]
    assert outcome.quality_at_stop == scores[stop // 10]
    assert outcome.quality_kept == pytest.approx(scores[stop // 10] / scores.max())


def test_a_criterion_that_does_not_fire_uses_the_budget(make_recording):
    assert replay(DVAR(40, 0.001), make_recording(budget=50)).stop_step == 50


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": "failed"}, "is failed, not complete; finish it with `dvar record`"),
        ({"identity": {"concept": {"name": "a"}, "budget": 60, "seed": 0}}, "has 50 of 60 steps"),
        ({"quality": None}, "lacks the measure 'train_clip_image'; it has: none"),
    ],
)
def test_recordings_that_cannot_answer(make_recording, changes, message):
    recording = make_recording(budget=50)
    if "quality" in changes:
        changes = {"quality": dataclasses.replace(recording.quality, scores={})}
    with pytest.raises(InvalidInput, match=message):
        replay(DVAR(8, 0.15), dataclasses.replace(recording, **changes))


def test_a_stop_before_the_first_snapshot_has_no_quality(make_recording):
    recording = make_recording(budget=50, every=25)
    late = dataclasses.replace(recording.quality, steps=recording.quality.steps + 20)
    with pytest.raises(InvalidInput, match="no quality snapshot at or before step"):
        replay(DVAR(8, 0.15), dataclasses.replace(recording, quality=late))


def test_scores_that_are_not_positive_have_no_share(make_recording):
    recording = make_recording(budget=50)
    negative = {"train_clip_image": -np.ones(len(recording.quality.steps))}
    with pytest.raises(InvalidInput, match="a share of it has no meaning"):
        replay(Never(), dataclasses.replace(recording, quality=dataclasses.replace(recording.quality, scores=negative)))


def test_a_live_run_is_measured_against_its_full_recording(make_recording):
    full = make_recording(budget=50, every=10)
    live = make_recording(budget=50, every=10, steps=20, state="stopped")
    outcome = live_outcome(live, full)
    assert (outcome.stop_step, outcome.stopped) == (20, True)
    assert outcome.quality_kept == live.quality.scores["train_clip_image"][-1] / outcome.best_quality


def outcome(concept, step, seed=0, quality=0.9):
    return Outcome(concept, seed, step, True, 100, float(step), quality, 1.0)


def test_a_summary_averages_seeds_first_and_then_concepts():
    summary = Summary.of([outcome("a", 10), outcome("a", 30, seed=1), outcome("b", 60)])
    assert summary.iterations.mean == 40
    assert summary.iterations.std == pytest.approx(np.std([20, 60], ddof=1))
    assert summary.concepts == 2


def test_one_concept_has_no_deviation_and_what_was_not_measured_is_absent():
    summary = Summary.of([outcome("a", 10, quality=None)])
    assert summary.iterations.std is None
    assert summary.quality_kept is None
