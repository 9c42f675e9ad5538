"""Robustness: what a choice would have been on other concepts, and whether these are enough to say."""

import dataclasses
import itertools

import numpy as np
import pytest

from orchestrator.recordings.recording import Quality
from orchestrator.study.replayed import Study
from orchestrator.study.robustness import NEAR, Interval, LeftOut, Robustness, assess


@pytest.fixture
def result(make_recording):
    recordings = [make_recording(name, 200, rate=5 + 4 * i, seed=i) for i, name in enumerate("abcdef")]
    return Study(recordings, quality_kept=0.8).search(60)


def rank(ones, wanted, names):
    """The study's own objective, in plain Python, on some of the concepts."""

    def of(trial):
        chosen = [outcome for outcome in trial.outcomes if outcome.concept in names]
        cost = np.mean([outcome.stop_step for outcome in chosen])
        kept = np.mean([outcome.quality_kept for outcome in chosen])
        return (0, cost, -kept) if kept >= wanted else (1, -kept, cost)

    return min(ones, key=of)


def test_each_concept_gets_what_was_chosen_without_it(result):
    robustness = assess(result)
    assert [case.concept for case in robustness.left_out] == list("abcdef")
    for case in robustness.left_out:
        expected = rank(result.tried, 0.8, set("abcdef") - {case.concept})
        assert case.chosen.rank[:2] == pytest.approx(expected.rank[:2])
        (outcome,) = [outcome for outcome in case.chosen.outcomes if outcome.concept == case.concept]
        assert (case.cost, case.quality_kept) == (outcome.stop_step, pytest.approx(outcome.quality_kept))


def test_intervals_hold_the_mean_and_shrink_with_the_concepts(result, make_recording):
    robustness = assess(result)
    assert robustness.cost.mean == pytest.approx(result.best.cost)
    assert robustness.cost.low <= robustness.cost.mean <= robustness.cost.high
    assert robustness.quality_kept.low <= result.best.quality_kept <= robustness.quality_kept.high
    many = [make_recording(f"{n}{i}", 200, rate=5 + 4 * i, seed=i) for n in "xyzw" for i in range(6)]
    wide, narrow = robustness.cost, assess(Study(many, quality_kept=0.8).search(60)).cost
    assert narrow.high - narrow.low < 0.8 * (wide.high - wide.low)


def test_the_risk_is_that_of_all_sets(make_recording):
    recordings = [make_recording(name, 200, rate=5 + 9 * i, seed=i) for i, name in enumerate("abc")]
    result = Study(recordings, quality_kept=0.8).search(40)
    kept = [outcome.quality_kept for outcome in result.best.outcomes]
    sets = list(itertools.product(kept, repeat=3))
    expected = np.mean([np.mean(set) < 0.8 for set in sets])
    assert 0 < expected < 1
    assert assess(result).risk == pytest.approx(expected, abs=0.03)


def test_the_settings_that_are_as_good(result):
    near = [trial for trial in result.tried if trial.is_feasible and trial.cost <= NEAR * result.best.cost]
    low, high = assess(result).near_ranges["window"]
    assert low == min(result.params["window"] for result in near) <= result.best.params["window"]
    assert high == max(result.params["window"] for result in near)


def test_where_no_setting_keeps_enough_none_is_as_good(make_recording):
    recordings = [make_recording(name, 200, seed=i) for i, name in enumerate("ab")]
    result = Study(recordings, quality_kept=1.0).search(8)
    assert result.best.quality_kept < 1
    assert all(trial.quality_kept < 1 for trial in result.tried)
    robustness = assess(result)
    assert robustness.near_ranges == {}
    assert robustness.risk == 1.0
    assert not robustness.is_inconclusive  # it falls short by a billionth, and surely so
    hopeless = study_of(make_recording, [0.5] * 3, settings=1)
    assert hopeless.near_ranges == {}
    assert hopeless.is_inconclusive


def with_quality(recording, kept):
    """A recording whose quality is `kept` until its last snapshot, and 1 there."""
    steps = recording.quality.steps
    scores = {"train_clip_image": np.where(steps < steps[-1], kept, 1.0)}
    return dataclasses.replace(recording, quality=Quality(steps, scores, recording.quality.seconds))


def study_of(make_recording, kept, settings=20):
    """A study of concepts of which each keeps its share until the last snapshot."""
    recordings = [with_quality(make_recording(f"c{i:02d}", 200, seed=i), value) for i, value in enumerate(kept)]
    return assess(Study(recordings, quality_kept=0.8).search(settings))


def test_a_choice_that_one_concept_makes_is_called_luck(make_recording):
    """Two concepts keep too little and one keeps all: the mean just suffices, and says nothing of others."""
    assert study_of(make_recording, [0.7, 0.7, 1.0]).is_inconclusive
    assert not study_of(make_recording, [0.8] * 3).is_inconclusive


def test_more_concepts_of_the_same_kind_are_enough(make_recording):
    few, many = (study_of(make_recording, [0.7, 0.92] * count) for count in (1, 24))
    assert few.is_inconclusive
    assert not many.is_inconclusive


@pytest.mark.parametrize(
    ("left_out", "low", "is_inconclusive"),
    [(0.785, 0.79, False), (0.775, 0.79, True), (0.80, 0.755, False), (0.80, 0.745, True)],
)
def test_what_is_too_little_to_say_anything(left_out, low, is_inconclusive):
    """Concepts that were left out keep over two points too little, or resampled ones over five."""
    kept, cost = Interval(0.81, low, 0.83), Interval(50.0, 40.0, 60.0)
    cases = tuple(LeftOut(name, None, 50.0, left_out) for name in "ab")
    assert Robustness(cost, kept, 0.8, 0.1, cases, {}).is_inconclusive is is_inconclusive


def test_one_concept_says_nothing_of_others(make_recording):
    robustness = assess(Study([make_recording("a", 200)], quality_kept=0.8).search(5))
    assert robustness.left_out == ()
    assert robustness.is_inconclusive
