"""L_det evaluated less often, or on some inputs: replayed and live agree, and both agree with a slow loop."""

import dataclasses
import functools

import numpy as np
import pytest

from orchestrator.criteria import DVAR, FewIterations
from orchestrator.replay.l_det import l_det_cost, l_det_series
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


BATCHES = ("paper",) * 3 + ("stratified",) * 3 + ("held_out",) * 2
TIMESTEPS = (900, 50, 400, 250, 650, 950, 300, 800)
BASE_LOSSES = np.array([2.0, 1.0, 0.5, 4.0, 3.0, 1.5, 2.5, 0.7])


@pytest.fixture
def of_all_batches(make_recording):
    plain = make_recording(budget=60)
    losses = BASE_LOSSES * (1 + np.random.default_rng(1).normal(size=(60, 8)) / 10)
    papers = np.ascontiguousarray(losses[:, :3]).mean(axis=1)
    steps = dataclasses.replace(plain.steps, input_losses=losses, l_det=papers, l_det_seconds=np.arange(60) / 100)
    inputs = [
        {"timestep": timestep} | ({} if batch == "paper" else {"batch": batch})
        for batch, timestep in zip(BATCHES, TIMESTEPS, strict=True)
    ]
    facts = {
        "fixed_inputs": inputs,
        "initial_losses": BASE_LOSSES.tolist(),
        "l_det_costs": {"paper": {"1": 0.2, "2": 0.3}, "stratified": {"2": 0.15}},
    }
    return dataclasses.replace(plain, steps=steps, facts=facts)


def slowly_of(recording, schedule):
    """L_det as `LDetSchedule` describes it, batch by batch and input by input."""
    total = np.zeros(60)
    for sign, name in ((1, "held_out"), (-1, "paper")) if schedule.batch == "gap" else ((1, schedule.batch),):
        counted = [i for i in range(8) if BATCHES[i] == name and TIMESTEPS[i] >= schedule.first_timestep]
        latest, turn = {i: BASE_LOSSES[i] for i in counted}, 0
        for step in range(1, 61):
            if step % schedule.every:
                total[step - 1] = np.nan
                continue
            for _ in range(schedule.inputs or len(counted)):
                at = counted[turn % len(counted)]
                latest[at] = recording.steps.input_losses[step - 1, at]
                turn += 1
            values = [latest[i] / BASE_LOSSES[i] if schedule.relative else latest[i] for i in counted]
            total[step - 1] += sign * np.mean(values)
    return total


@pytest.mark.parametrize("batch", ["paper", "stratified", "held_out", "gap"])
@pytest.mark.parametrize("first_timestep", [0, 100, 300, 500])
def test_the_series_of_every_batch_is_that_of_the_slow_loop(of_all_batches, batch, first_timestep):
    for every in (1, 5):
        for inputs in (None, 1):
            for relative in (False, True):
                schedule = LDetSchedule(every, inputs, relative, batch, first_timestep)
                expected = slowly_of(of_all_batches, schedule)
                np.testing.assert_allclose(l_det_series(of_all_batches, schedule), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (LDetSchedule(batch="stratified", inputs=4), "the stratified batch has 3; use fewer"),
        (LDetSchedule(batch="stratified", inputs=3, first_timestep=600), "has 2 with a timestep of 600 or more"),
        (LDetSchedule(batch="held_out", first_timestep=900), "no input of the held_out batch has a timestep of 900"),
    ],
)
def test_too_few_inputs_of_a_batch(of_all_batches, schedule, message):
    with pytest.raises(InvalidInput, match=rf"recording of 'a' \(.*\): .*{message}"):
        l_det_series(of_all_batches, schedule)


@pytest.mark.parametrize(
    ("batch", "remedy"),
    [
        ("stratified", r"without the stratified batch; .* stratified_batch\.size=8, or use the paper's L_det"),
        ("held_out", r"without the held_out batch; .* held_out\.images=1"),
        ("gap", r"without the held_out batch; .* \(--l-det paper\)"),
    ],
)
def test_a_recording_without_the_batch_says_what_to_do(recording, batch, remedy):
    assert not recording.has_batch(batch)
    with pytest.raises(InvalidInput, match=remedy):
        l_det_series(recording, LDetSchedule(batch=batch))


def test_which_batches_a_recording_has(of_all_batches, recording):
    assert all(of_all_batches.has_batch(name) for name in ("paper", "stratified", "held_out", "gap"))
    assert recording.has_batch("paper")
    assert of_all_batches.losses_of("held_out").tolist() == of_all_batches.steps.input_losses[:, 6:].tolist()


def test_a_batch_that_was_evaluated_now_and_then(of_all_batches):
    losses = of_all_batches.steps.input_losses.copy()
    losses[np.arange(1, 61) % 5 != 0, 3:] = np.nan
    sparse = dataclasses.replace(of_all_batches, steps=dataclasses.replace(of_all_batches.steps, input_losses=losses))
    for schedule in (LDetSchedule(5, 2, True, "stratified"), LDetSchedule(10, batch="gap"), LDetSchedule(1, 2)):
        np.testing.assert_array_equal(l_det_series(sparse, schedule), l_det_series(of_all_batches, schedule))
    with pytest.raises(
        InvalidInput, match=r"no losses of the stratified batch at step 3, .*every 3 steps looks; use a mul"
    ):
        l_det_series(sparse, LDetSchedule(3, batch="stratified"))


def test_unknown_timesteps(recording):
    with pytest.raises(InvalidInput, match="first_timestep is 100, but the inputs' timesteps are not known"):
        l_det_series(recording, LDetSchedule(first_timestep=100))


@pytest.mark.parametrize(
    ("schedule", "seconds", "is_estimate"),
    [
        (LDetSchedule(), sum(range(41)) / 100, False),
        (LDetSchedule(every=10), (9 + 19 + 29 + 39) / 100, False),
        (LDetSchedule(every=10, relative=True, first_timestep=100), (9 + 19 + 29 + 39) / 100, False),
        (LDetSchedule(every=10, inputs=2), 4 * 0.3, True),
        (LDetSchedule(every=10, inputs=1), 4 * 0.2, True),
        (LDetSchedule(every=10, inputs=1, batch="stratified"), 4 * 0.15, True),
        (LDetSchedule(every=10, batch="stratified"), 4 * 2 * 0.15, True),  # 3 inputs take two passes
        (
            LDetSchedule(every=20, batch="held_out"),
            (19 + 39) / 100 * 2 / 3,
            True,
        ),  # not timed: per input of the paper's
        (LDetSchedule(every=20, batch="gap"), (19 + 39) / 100 * (1 + 2 / 3), True),
    ],
)
def test_what_evaluations_cost(of_all_batches, schedule, seconds, is_estimate):
    cost = l_det_cost(of_all_batches, schedule, 41)
    assert cost.seconds == pytest.approx(seconds)
    assert cost.is_estimate is is_estimate


def test_the_cost_is_unknown_where_no_time_was_measured(recording):
    steps = dataclasses.replace(recording.steps, l_det_seconds=np.full(60, np.nan))
    assert l_det_cost(dataclasses.replace(recording, steps=steps), LDetSchedule(inputs=2), 9) is None


def test_what_is_replayed_is_what_dvar_asks_for(recording):
    rotating = DVAR(20, 0.9, stride=2, inputs=2, relative=True)
    series = l_det_series(recording, rotating.l_det_schedule)
    outcome = replay(rotating, recording)
    assert outcome.stop_step == rotating.first_stop(series) < 60
    every_input = dataclasses.replace(rotating, inputs=None)
    assert outcome.stop_step != replay(every_input, recording).stop_step
    # What some of the inputs take was not measured; it is estimated.
    cost = l_det_cost(recording, rotating.l_det_schedule, outcome.stop_step)
    assert cost.is_estimate
    assert outcome.seconds == pytest.approx(recording.steps.seconds[: outcome.stop_step].sum() + cost.seconds)
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
