"""L_det evaluated less often, or on some inputs: replayed and live agree, and both agree with a slow loop."""

import dataclasses
import functools

import numpy as np
import pytest

from orchestrator.criteria import DVAR, FewIterations
from orchestrator.replay.l_det import l_det_series
from orchestrator.replay.replay import replay
from trainables.errors import InvalidInput
from trainables.methods.textual_inversion import TextualInversion
from trainables.settings import LDetSchedule
from trainables.training.training import Training

INITIAL = np.array([2.0, 1.0, 0.5, 4.0, 3.0])


@pytest.fixture
def recording(make_recording):
    plain = make_recording(budget=60)
    losses = INITIAL * (1 + np.random.default_rng(0).normal(size=(60, 5)) / 10)
    steps = dataclasses.replace(plain.steps, input_losses=losses, l_det=losses.mean(axis=1))
    return dataclasses.replace(plain, steps=steps, facts={"initial_losses": INITIAL.tolist()})


def slowly(losses, schedule):
    """L_det after each step as `LDetSchedule` describes it, input by input."""
    latest, series, turn = INITIAL.copy(), [], 0
    for step, row in enumerate(losses, start=1):
        if step % schedule.every:
            series.append(np.nan)
            continue
        for _ in range(schedule.inputs or 5):
            latest[turn % 5] = row[turn % 5]
            turn += 1
        series.append(np.mean(latest / INITIAL if schedule.relative else latest))
    return np.array(series)


SCHEDULES = [
    LDetSchedule(every, inputs, relative)
    for every in (1, 3, 7)
    for inputs in (None, 1, 2, 5)
    for relative in (False, True)
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_the_series_is_that_of_the_slow_loop(recording, schedule):
    np.testing.assert_allclose(
        l_det_series(recording, schedule), slowly(recording.steps.input_losses, schedule), rtol=1e-12
    )


@pytest.mark.parametrize("schedule", [schedule for schedule in SCHEDULES if schedule.every < 7], ids=str)
def test_live_and_replayed_values_agree(recording, schedule, base, toy_concepts):
    """The same steps, evaluated once in full and once as the schedule says; a smaller batch rounds differently."""
    method = functools.partial(TextualInversion, learning_rate=0.02)
    with Training(base, method(), toy_concepts[0]) as training:
        rows = [training.step() for _ in range(9)]
        initial = training.initial_losses
    with Training(base, method(), toy_concepts[0], l_det_schedule=schedule) as live:
        values = [live.step() for _ in range(5)]
        state = live.state_dict()
    with Training(base, method(), toy_concepts[0], l_det_schedule=schedule) as live:
        live.load_state_dict(state)
        values += [live.step() for _ in range(4)]
    full = dataclasses.replace(
        recording,
        steps=dataclasses.replace(
            recording.steps,
            l_det=np.array([row.l_det for row in rows]),
            input_losses=np.array([row.input_losses for row in rows]),
        ),
        facts={"initial_losses": initial},
    )
    l_det = [np.nan if row.l_det is None else row.l_det for row in values]
    np.testing.assert_allclose(l_det, l_det_series(full, schedule)[:9], rtol=1e-5)
    evaluated = np.isfinite([row.input_losses for row in values]).sum(axis=1)
    due = np.arange(1, 10) % schedule.every == 0
    assert evaluated.tolist() == np.where(due, schedule.inputs or 8, 0).tolist()
    assert [row.train_loss for row in values] == [row.train_loss for row in rows]


def test_what_is_replayed_is_what_dvar_asks_for(recording):
    rotating = DVAR(20, 0.9, stride=2, inputs=2, relative=True)
    series = l_det_series(recording, rotating.l_det_schedule)
    outcome = replay(rotating, recording)
    assert outcome.stop_step == rotating.first_stop(series) < 60
    every_input = dataclasses.replace(rotating, inputs=None)
    assert outcome.stop_step != replay(every_input, recording).stop_step
    assert outcome.seconds is None  # what two inputs take was not measured
    assert replay(DVAR(20, 0.9, relative=True), recording).seconds is not None


@pytest.mark.parametrize(
    ("change", "criterion", "message"),
    [
        (
            {"facts": {}},
            DVAR(20, 0.9, inputs=2),
            "lacks the fixed inputs' losses before the first step, .* record it anew",
        ),
        ({"facts": {}}, DVAR(20, 0.9, relative=True), "lacks the fixed inputs' losses before the first step"),
        (
            {},
            DVAR(20, 0.9, inputs=6),
            "recording of 'a' .*: 6 inputs at a time are wanted, and the paper batch has 5; use fewer",
        ),
    ],
)
def test_what_cannot_be_replayed_is_named(recording, change, criterion, message):
    with pytest.raises(InvalidInput, match=message):
        replay(criterion, dataclasses.replace(recording, **change))


def test_more_inputs_than_there_are(base, toy_concepts):
    with pytest.raises(InvalidInput, match="9 inputs at a time are wanted, and the paper batch has 8; use fewer"):
        Training(base, TextualInversion(), toy_concepts[0], l_det_schedule=LDetSchedule(inputs=9))


def test_few_iterations_look_at_nothing():
    assert FewIterations(3).first_stop([np.nan] * 5) == 3
