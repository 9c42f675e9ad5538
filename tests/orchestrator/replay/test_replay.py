"""Replay: the stop, its seconds and the quality it keeps."""

import dataclasses

import numpy as np
import pytest

from orchestrator.criteria import DVAR, All, ClipScore, FewIterations, Never, NotBefore, Patience, StepsPerImage
from orchestrator.recordings.identity import RunIdentity
from orchestrator.replay import Outcome, Summary, live_outcome, replay
from orchestrator.replay.quality import quality_curve
from trainables.errors import InvalidInput


def test_never_counts_the_full_budget_without_the_time_of_l_det(make_recording):
    outcome = replay(Never(), make_recording(budget=50, step_seconds=0.5, l_det_seconds=0.25))
    assert (outcome.stop_step, outcome.stopped, outcome.share) == (50, False, 1.0)
    assert outcome.seconds == pytest.approx(25)


def test_dvar_pays_for_l_det_and_keeps_the_quality_at_its_stop(make_recording):
    recording = make_recording(budget=50, step_seconds=0.5, l_det_seconds=0.25, every=10)
    criterion = DVAR(8, 0.15)
    outcome = replay(criterion, recording)
    stop = criterion.first_stop(recording.steps.l_det)
    assert outcome.stop_step == stop < 50
    assert outcome.seconds == pytest.approx(0.75 * stop)
    curve = quality_curve(recording, "train_clip_image")
    assert outcome.quality_at_stop == curve.at_every_step[stop]
    assert outcome.quality_kept == curve.kept_at_every_step[stop]


def test_a_criterion_that_does_not_fire_uses_the_budget(make_recording):
    assert replay(DVAR(40, 0.001), make_recording(budget=50)).stop_step == 50


def test_clip_s_pays_for_samples_and_keeps_the_best_of_them(make_recording):
    recording = make_recording(budget=100, every=10, step_seconds=0.5, l_det_seconds=0.25)
    scores = np.array([0.3, 0.5, 0.8, 0.7, 0.6, 0.5, 0.4, 0.4, 0.4, 0.4, 0.9])
    quality = dataclasses.replace(recording.quality, scores={"train_clip_image": scores, "val_clip_text": 1 - scores})
    recording = dataclasses.replace(recording, quality=quality)
    outcome = replay(ClipScore(patience=2, min_improvement=0.01), recording)
    assert outcome.stop_step == 50  # snapshots 0, 10 and 20 improve, 30, 40 and 50 do not
    assert outcome.seconds == pytest.approx(0.5 * 50 + 6 * 1.0)
    assert outcome.quality_at_stop == pytest.approx(0.8)
    apart = dataclasses.replace(quality, samples_seconds={"train": np.full(11, 0.4), "val": np.full(11, 0.6)})
    recording = dataclasses.replace(recording, quality=apart)
    assert replay(ClipScore(2, 0.01), recording).seconds == pytest.approx(0.5 * 50 + 6 * 0.4)
    assert replay(ClipScore(2, 0.01), recording, "val_clip_text").quality_at_stop == pytest.approx(0.2)
    assert replay(ClipScore(9, 0.0), recording).stop_step == 100


def test_few_iterations_needs_neither_l_det_nor_samples(make_recording):
    outcome = replay(FewIterations(20), make_recording(budget=50, step_seconds=0.5, l_det_seconds=0.25))
    assert (outcome.stop_step, outcome.stopped, outcome.seconds) == (20, True, pytest.approx(10))


def test_a_stride_pays_for_the_evaluations_that_it_needs(make_recording):
    recording = make_recording(budget=200, rate=20, step_seconds=0.5, l_det_seconds=0.25)
    criterion = DVAR(40, 0.15, stride=4)
    outcome = replay(criterion, recording)
    assert outcome.stop_step % 4 == 0
    assert outcome.stop_step == 4 * DVAR(10, 0.15).first_stop(recording.steps.l_det[3::4])
    assert outcome.seconds == pytest.approx(0.5 * outcome.stop_step + 0.25 * outcome.stop_step / 4)
    assert NotBefore(criterion, 3).l_det_schedule.every == 4
    assert All(criterion, DVAR(40, 0.15, stride=6), FewIterations(3)).l_det_schedule.every == 2


@pytest.mark.parametrize(
    ("quality", "message"),
    [
        ({"scores": {"val_clip_text": np.ones(6)}}, "lacks the quality 'train_clip_image' that ClipScore.* watches"),
        ({"steps": np.array([0]), "scores": {k: np.ones(1) for k in ("val_clip_text", "train_clip_image")}},
         "has 1 snapshots, too few"),
        ({"scores": {"val_clip_text": np.ones(6), "train_clip_image": np.full(6, np.nan)}}, "value 1 of the series is"),
    ],
)  # fmt: skip
def test_clip_s_without_its_quality(make_recording, quality, message):
    recording = make_recording(budget=50)
    recording = dataclasses.replace(recording, quality=dataclasses.replace(recording.quality, **quality))
    with pytest.raises(InvalidInput, match=message):
        replay(ClipScore(2, 0.01), recording, "val_clip_text")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": "failed"}, "is failed, not complete; finish it with `dvar record`"),
        ({"identity": RunIdentity({"concept": {"name": "a"}, "budget": 60, "seed": 0})}, "has 50 of 60 steps"),
        ({"quality": None}, "lacks the metric 'train_clip_image'; it has: none"),
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
    live = make_recording(budget=50, every=10, steps=20, state="stopped", step_seconds=0.5, l_det_seconds=0.25)
    outcome = live_outcome(live, full)
    assert (outcome.stop_step, outcome.stopped) == (20, True)
    assert outcome.seconds == pytest.approx(20 * 0.75)
    best = quality_curve(full, "train_clip_image").best
    assert outcome.best_quality == best == pytest.approx(full.quality.scores["train_clip_image"].max(), abs=1e-3)
    assert outcome.quality_kept == live.quality.scores["train_clip_image"][-1] / best


def outcome(concept, step, seed=0, quality=0.9):
    return Outcome(concept, seed, step, True, 100, float(step), quality, 1.0)


def test_a_summary_averages_seeds_first_and_then_concepts():
    summary = Summary.of([outcome("a", 10), outcome("a", 30, seed=1), outcome("b", 60)])
    assert summary.iterations.mean == 40
    assert summary.iterations.std == pytest.approx(np.std([20, 60], ddof=1))
    assert summary.concepts == 2


def test_a_single_concept_has_no_deviation_and_what_was_not_measured_is_absent():
    summary = Summary.of([outcome("a", 10, quality=None)])
    assert summary.iterations.std is None
    assert summary.quality_kept is None


@pytest.mark.parametrize(("images", "stop"), [(0, 15), (1, 15), (3, 45), (4, 60), (9, 100)])
def test_steps_per_image_count_the_concepts_images(make_recording, images, stop):
    """An unknown number counts as one; beyond the budget nothing is left to stop."""
    recording = make_recording("a", 100, step_seconds=0.5, l_det_seconds=9.0)
    concept = {"name": "a", "images": [f"{index}.png" for index in range(images)]}
    recording = dataclasses.replace(recording, identity=recording.identity.with_fields(concept=concept))
    outcome = replay(StepsPerImage(15), recording)
    assert (outcome.stop_step, outcome.stopped) == (stop, images <= 4)
    assert outcome.seconds == pytest.approx(0.5 * stop)


def test_patience_keeps_the_weights_of_the_lowest_l_det(make_recording):
    """L_det falls to step 40 and rises again: 20 steps later it stops, and the quality is that of step 40."""
    recording = make_recording("a", 100, every=10, step_seconds=0.5, l_det_seconds=0.25)
    steps = dataclasses.replace(recording.steps, l_det=1 + 0.01 * np.abs(np.arange(1, 101) - 40.0))
    scores = {"train_clip_image": np.linspace(0.2, 0.8, 11)}
    quality = dataclasses.replace(recording.quality, scores=scores)
    recording = dataclasses.replace(recording, steps=steps, quality=quality)
    outcome = replay(Patience(window=20), recording)
    assert outcome.stop_step == 60
    assert outcome.seconds == pytest.approx(60 * 0.75)
    assert outcome.quality_at_stop == pytest.approx(0.2 + 0.6 * 0.4, abs=1e-6)
    assert replay(FewIterations(60), recording).quality_at_stop == pytest.approx(0.2 + 0.6 * 0.6, abs=1e-6)
    cheap = replay(Patience(window=20, stride=5), recording)
    assert cheap.stop_step == 60
    assert cheap.quality_at_stop == pytest.approx(outcome.quality_at_stop)
