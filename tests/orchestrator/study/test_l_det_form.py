"""Which form of L_det is searched, unless settings say otherwise."""

import dataclasses

import numpy as np
import pytest

from orchestrator.replay.tempo import slowed
from orchestrator.study.l_det_form import stratified_every, with_form

CHEAP = {"stride": 5, "inputs": 2, "relative": True}
STRATIFIED = {**CHEAP, "batch": "stratified"}


@pytest.mark.parametrize(
    ("form", "budget", "every", "fixed", "expected"),
    [
        (None, 400, None, {}, CHEAP),
        (None, 400, 1, {}, STRATIFIED),
        (None, 400, 5, {}, STRATIFIED),
        (None, 400, 3, {}, CHEAP),  # evaluated at other steps
        (None, 400, 5, {"stride": 2}, {**CHEAP, "stride": 2}),
        (None, 400, 5, {"stride": 10}, {**STRATIFIED, "stride": 10}),
        (None, 40, 5, {}, {"inputs": 2, "relative": True}),  # too short for a stride
        (None, 40, 1, {}, {"inputs": 2, "relative": True, "batch": "stratified"}),
        ("stratified", 400, None, {}, STRATIFIED),
        ("stratified", 400, 3, {}, {**STRATIFIED, "stride": 3}),
        ("stratified", 40, 5, {}, STRATIFIED),
        ("paper", 400, 1, {"window": 9}, {"window": 9}),
    ],
)
def test_the_form_fits_the_recorded_batches(form, budget, every, fixed, expected):
    merged = with_form(["dvar"], {"dvar": fixed} if fixed else {}, form, budget, stratified_every=every)
    assert merged == {"dvar": expected}


def test_only_what_watches_l_det_has_a_form_and_a_gap_has_a_batch_of_its_own():
    merged = with_form(["few_iterations", "clip_score", "divergence"], {}, None, 400, stratified_every=1)
    assert merged == {"divergence": {"stride": 5, "inputs": 2}}


def test_recordings_without_the_batch_have_no_distance(make_recording):
    assert stratified_every([make_recording()]) is None
    assert stratified_every([]) is None


def test_a_batch_that_is_evaluated_seldom_is_slowed_between_its_evaluations(make_recording):
    recording = make_recording(budget=100)
    losses = recording.steps.input_losses.copy()
    losses[np.arange(1, 101) % 5 != 0, 1] = np.nan
    steps = dataclasses.replace(recording.steps, input_losses=losses)
    slow = slowed(dataclasses.replace(recording, steps=steps), 2)
    assert np.isfinite(slow.steps.input_losses).all()
    assert slow.steps.input_losses[19, 1] == losses[9, 1]
