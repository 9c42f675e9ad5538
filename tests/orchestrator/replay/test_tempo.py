"""A slowed recording: everything happens later, in proportion, within the same budget."""

import dataclasses

import numpy as np
import pytest

from orchestrator.criteria import DVAR
from orchestrator.replay import replay
from orchestrator.replay.tempo import slowed


def test_every_loss_comes_later_in_proportion(make_recording):
    recording = make_recording(budget=100)
    slow = slowed(recording, 2)
    assert len(slow.steps) == 100
    assert slow.steps.l_det[1::2] == pytest.approx(recording.steps.l_det[:50])
    assert slow.steps.input_losses[3] == pytest.approx(recording.steps.input_losses[1])
    between = (recording.steps.input_losses[1] + recording.steps.input_losses[2]) / 2
    assert slow.steps.input_losses[4] == pytest.approx(between)
    assert slow.quality.steps.tolist() == [0, 20, 40, 60, 80, 100]
    scores = recording.quality.scores["train_clip_image"]
    assert slow.quality.scores["train_clip_image"] == pytest.approx(scores[:6])


def test_dvar_hardly_follows_on_a_line(make_recording):
    recording = make_recording(budget=400)
    line = 1 - 1e-4 * np.arange(1, 401)
    steps = dataclasses.replace(recording.steps, l_det=line, input_losses=np.repeat(line[:, None], 2, axis=1))
    straight = dataclasses.replace(recording, steps=steps)
    assert replay(DVAR(60, 0.2), straight).stop_step == pytest.approx(60 / 0.2**0.5, abs=2)
    assert replay(DVAR(60, 0.2), slowed(straight, 2)).stop_step == pytest.approx(60 / 0.2**0.5, abs=2)
