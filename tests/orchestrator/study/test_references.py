"""What stands beside every search: the first step that keeps the target, a fixed number, and steps per image."""

import dataclasses

import numpy as np
import pytest

from orchestrator.criteria import FewIterations, StepsPerImage
from orchestrator.recordings.recording import Quality
from orchestrator.replay.quality import quality_curve
from orchestrator.study import Objective, Study
from orchestrator.study.references import needed_steps


def with_images(recording, count):
    images = [f"{index}.png" for index in range(count)]
    concept = {"name": recording.concept, "images": images}
    return dataclasses.replace(recording, identity=recording.identity.with_fields(concept=concept))


def test_needed_steps_are_the_first_that_keep_the_target(make_recording):
    recordings = [make_recording(name, 200, rate=rate, seed=i) for i, (name, rate) in enumerate([("a", 20), ("b", 60)])]
    needed = needed_steps(recordings, Objective(0.85))
    for recording, step in zip(recordings, needed, strict=True):
        kept = quality_curve(recording, "train_clip_image").kept_at_every_step
        assert kept[step] >= 0.85 > kept[step - 1]
    # Quality is 1 - exp(-t / rate) / 2 of 0.8, but for the smoothing, and not quite 0.8 at the end.
    assert needed == pytest.approx([20 * np.log(1 / 0.3), 60 * np.log(1 / 0.32)], abs=6)


def test_several_seeds_are_averaged_before_the_target_is_looked_for(make_recording):
    seeds = [make_recording("a", 200, rate=rate, seed=seed) for seed, rate in enumerate((10, 60))]
    (together,) = needed_steps(seeds, Objective(0.85))
    (early,), (late,) = (needed_steps([recording], Objective(0.85)) for recording in seeds)
    assert early < together < late
    mean = np.mean([quality_curve(seed, "train_clip_image").kept_at_every_step for seed in seeds], axis=0)
    assert mean[together] >= 0.85 > mean[together - 1]


def test_what_never_keeps_the_target_needs_an_unknown_number(make_recording):
    """Its two seeds are at their best at opposite ends, so that their mean never keeps 90 %."""
    up, down = (make_recording("a", 200, seed=seed) for seed in (0, 1))
    steps, line = up.quality.steps, np.linspace(0.2, 0.8, len(up.quality.steps))
    up, down = (
        dataclasses.replace(recording, quality=Quality(steps, {"train_clip_image": scores}, np.ones(len(steps))))
        for recording, scores in ((up, line), (down, line[::-1]))
    )
    assert needed_steps([up, down, make_recording("b", 200)], Objective(0.9))[0] is None
    assert needed_steps([up], Objective(0.9)) != (None,)


def test_a_fixed_number_and_steps_per_image_are_chosen_by_the_same_objective(make_recording):
    recordings = [
        with_images(make_recording(name, 200, rate=10 + 5 * i, seed=i), 2 + i % 3) for i, name in enumerate("abcdefgh")
    ]
    objective = Objective(0.85)
    result = Study(recordings, objective=objective).search()
    fixed, per_image = result.references
    assert (type(fixed.criterion), type(per_image.criterion)) == (FewIterations, StepsPerImage)
    needed = sorted(result.needed_steps)
    assert fixed.cost == needed[6]  # one of eight may fail
    for reference in (fixed, per_image):
        assert reference.is_feasible
        assert sum(share < 0.85 for share in reference.kept) == 1
    images = [recording.identity.image_count for recording in recordings]
    assert images == [2, 3, 4, 2, 3, 4, 2, 3]
    assert [outcome.stop_step for outcome in per_image.outcomes] == [
        min(200, round(per_image.params["steps"] * count)) for count in images
    ]


def test_what_is_searched_stands_among_the_results_and_not_beside_them(make_recording):
    recordings = [make_recording(name, 200, rate=10 + 5 * i, seed=i) for i, name in enumerate("abcd")]
    result = Study(recordings, names=["few_iterations", "dvar"], objective=Objective(0.85)).search()
    assert result.references == ()
    assert {each.name for each in result.best_of_each()} == {"few_iterations", "dvar"}
    assert list(result.comparisons) == ["dvar"]
    assert result.best.name == "few_iterations" or result.comparisons["dvar"].is_real
