"""The batches beside the paper's: how they are drawn, that they change nothing, and that replays of them agree."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.recording import Quality, Recording, Steps
from orchestrator.replay.l_det import l_det_series
from trainables.errors import InvalidInput
from trainables.methods import MethodSpec
from trainables.settings import (
    CHEAP,
    GAP,
    HELD_OUT,
    PAPER,
    STRATIFIED,
    HeldOutSettings,
    LDetSchedule,
    StratifiedBatchSettings,
)
from trainables.training.fixed_batch import stratified_timesteps
from trainables.training.training import PAPER_BATCH, NonFiniteLossError, Training

METHODS = ["textual_inversion", "dreambooth_lora"]
STRATA, SPARED = StratifiedBatchSettings(), HeldOutSettings(images=1, size=5)
STEPS = 12


@pytest.fixture(params=METHODS)
def start(request, loaded_base, toy_concepts):
    """Start a training with all batches, or with what the options say."""
    settings = {"learning_rate": 0.02} if request.param == "textual_inversion" else {}
    concept = toy_concepts[0].holding_out(1)

    def make(concept=concept, **options):
        method = MethodSpec(f"trainables.methods.{request.param}", settings)()
        return Training(loaded_base, method, concept, **{"stratified_batch": STRATA, "held_out": SPARED} | options)

    return make


def trained(training, steps=STEPS):
    with training:
        return [training.step() for _ in range(steps)], training.state_dict()


def recording_of(training, rows):
    """What a full-length run of the training would have recorded."""
    columns = {
        name: np.array([getattr(row, name) for row in rows])
        for name in ("l_det", "train_loss", "grad_norm", "seconds", "l_det_seconds", "input_losses")
    }
    facts = {
        "fixed_inputs": [about for batch in training.batches.values() for about in batch.facts()],
        "initial_losses": list(training.initial_losses),
    }
    identity = RunIdentity({"concept": {"name": "a"}, "budget": len(rows)})
    return Recording(identity, facts, "complete", "", Steps(**columns), Quality(np.array([0]), {}, np.array([1.0])))


def test_the_papers_series_and_the_weights_are_the_same_with_and_without_them(start):
    torch.manual_seed(5)
    rows, state = trained(start())
    alone, expected = trained(start(stratified_batch=None, held_out=None))
    assert [row.l_det for row in rows] == [row.l_det for row in alone]
    assert [row.input_losses[:8] for row in rows] == [row.input_losses for row in alone]
    assert [(row.train_loss, row.grad_norm) for row in rows] == [(row.train_loss, row.grad_norm) for row in alone]
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in state.items())
    assert {len(row.input_losses) for row in rows} == {8 + 8 + 5}
    assert np.isfinite([row.input_losses for row in rows]).all()


SCHEDULES = [
    LDetSchedule(),
    LDetSchedule(relative=True),
    LDetSchedule(first_timestep=300),
    LDetSchedule(3, relative=True, first_timestep=300),
    LDetSchedule(batch=STRATIFIED),
    CHEAP,
    LDetSchedule(1, 2, batch=STRATIFIED),
    LDetSchedule(2, 3, relative=True, batch=STRATIFIED, first_timestep=400),
    LDetSchedule(1, 1, batch=STRATIFIED),
    LDetSchedule(2, batch=HELD_OUT),
    LDetSchedule(1, 2, relative=True, batch=HELD_OUT),
    LDetSchedule(batch=GAP),
    LDetSchedule(2, relative=True, batch=GAP, first_timestep=300),
]


def test_live_and_replayed_values_agree_to_the_last_bit(start):
    full = start()
    rows, _ = trained(full)
    recording = recording_of(full, rows)
    for schedule in SCHEDULES:
        needed = {
            "fixed_batch": PAPER_BATCH if PAPER in schedule.batches else None,
            "stratified_batch": STRATA if STRATIFIED in schedule.batches else None,
            "held_out": SPARED if HELD_OUT in schedule.batches else None,
        }
        first, state = trained(start(l_det_schedule=schedule, **needed), 7)
        with start(l_det_schedule=schedule, **needed) as resumed:
            resumed.load_state_dict(state)
            live = first + [resumed.step() for _ in range(STEPS - 7)]
        values = [np.nan if row.l_det is None else row.l_det for row in live]
        np.testing.assert_array_equal(values, l_det_series(recording, schedule), err_msg=str(schedule))
        assert [row.train_loss for row in live] == [row.train_loss for row in rows]
        assert np.isfinite(values).sum() == STEPS // schedule.every


def test_of_the_gap_some_inputs_in_turn_agree_but_for_the_rounding_of_the_papers(start):
    full, schedule = start(), LDetSchedule(1, 2, relative=True, batch=GAP)
    rows, _ = trained(full)
    live, _ = trained(start(stratified_batch=None, l_det_schedule=schedule))
    expected = l_det_series(recording_of(full, rows), schedule)
    np.testing.assert_allclose([row.l_det for row in live], expected, atol=1e-5)
    assert np.isfinite([row.input_losses for row in live]).sum(axis=1).tolist() == [4] * STEPS


def test_a_live_run_evaluates_what_its_schedule_takes_and_no_more(start):
    rows, _ = trained(start(fixed_batch=None, held_out=None, l_det_schedule=CHEAP), 10)
    evaluated = np.isfinite([row.input_losses for row in rows])
    assert evaluated.sum(axis=1).tolist() == [0, 0, 0, 0, 2] * 2
    assert np.flatnonzero(evaluated[4]).tolist() == [0, 1]
    assert np.flatnonzero(evaluated[9]).tolist() == [2, 3]


def test_what_is_only_recorded_comes_every_so_many_steps(start):
    rows, _ = trained(start(stratified_batch=replace(STRATA, every=3), held_out=replace(SPARED, every=4)))
    finite = np.isfinite([row.input_losses for row in rows])
    steps = np.arange(1, STEPS + 1)
    assert finite[:, :8].all()
    assert finite[:, 8:16].all(axis=1).tolist() == finite[:, 8:16].any(axis=1).tolist() == (steps % 3 == 0).tolist()
    assert finite[:, 16:].all(axis=1).tolist() == (steps % 4 == 0).tolist()


def test_the_loss_of_an_input_does_not_depend_on_which_inputs_share_its_pass(start):
    with start() as training:
        training.step()
        batch = training.batches[STRATIFIED]
        whole = batch.losses(training.base, training.method).tolist()
        for rows in ([5], [1, 0], [7, 2, 4], [0, 1, 2, 3, 4, 5, 6]):
            assert batch.losses(training.base, training.method, rows).tolist() == [whole[row] for row in rows]


@pytest.mark.parametrize(("size", "floor"), [(8, 0.2), (8, 0.0), (1, 0.5), (5, 0.3), (100, 0.9)])
def test_a_timestep_in_each_stratum_above_the_floor(size, floor):
    for seed in range(20):
        drawn = stratified_timesteps(1000, size, floor, torch.Generator().manual_seed(seed))
        edges = np.linspace(1000 * floor, 1000, size + 1).astype(int)
        assert (np.histogram(drawn, edges)[0] == 1).all()


def test_inputs_that_follow_each_other_lie_far_apart():
    timesteps = stratified_timesteps(1000, 8, 0.2, torch.Generator().manual_seed(0)).tolist()
    assert [(timestep - 200) // 100 for timestep in timesteps] == [0, 4, 2, 6, 1, 5, 3, 7]


def test_timesteps_are_uniform_in_their_stratum():
    drawn = [int(stratified_timesteps(1000, 1, 0.2, torch.Generator().manual_seed(s))[0]) for s in range(300)]
    assert (min(drawn) < 215, max(drawn) > 985, abs(np.mean(drawn) - 600) < 50) == (True, True, True)


def test_more_strata_than_timesteps():
    with pytest.raises(InvalidInput, match="has 100 timesteps, fewer than the 101 inputs"):
        stratified_timesteps(1000, 101, 0.9, torch.Generator())


def test_held_out_images_are_seen_by_their_batch_alone(start, toy_concepts):
    whole = toy_concepts[0]
    with start(held_out=replace(SPARED, size=8)) as training:
        held_out, stratified = training.batches[HELD_OUT].inputs, training.batches[STRATIFIED].inputs
        assert set(held_out.images) == {0}
        assert len(training.concept.images) == len(whole.images) - 1
        assert torch.equal(held_out.timesteps_b, stratified.timesteps_b)
        assert held_out.captions == stratified.captions
        assert torch.equal(held_out.target_bchw, stratified.target_bchw)  # the noise
        assert not torch.equal(held_out.noisy_latents_bchw, stratified.noisy_latents_bchw)
    alone = replace(whole, images=whole.images[:-1])
    expected, _ = trained(start(concept=alone, stratified_batch=None, held_out=None))
    rows, _ = trained(start())
    assert [row.l_det for row in rows] == [row.l_det for row in expected]


def test_measuring_what_evaluations_cost_changes_nothing(start):
    with start() as training:
        before = torch.get_rng_state()
        costs = training.l_det_costs()
        assert torch.equal(before, torch.get_rng_state())
        rows = [training.step() for _ in range(3)]
    assert {name: list(counts) for name, counts in costs.items()} == {
        PAPER: ["1", "2", "4"], STRATIFIED: ["2"], HELD_OUT: ["2"],
    }  # fmt: skip
    assert all(seconds > 0 for counts in costs.values() for seconds in counts.values())
    expected, _ = trained(start(), 3)
    assert [row.input_losses for row in rows] == [row.input_losses for row in expected]


def test_nan_on_a_few_inputs_is_noticed(start):
    with start(fixed_batch=None, held_out=None, l_det_schedule=LDetSchedule(1, 2, batch=STRATIFIED)) as training:
        training.step()
        state = {name: value * float("nan") for name, value in training.method.state_dict().items()}
        training.method.load_state_dict(state)
        with pytest.raises(NonFiniteLossError, match="L_det became nan at step 2"):
            training.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l_det_schedule": CHEAP, "stratified_batch": None}, r"needs the stratified batch.*stratified_batch\.size=8"),
        ({"l_det_schedule": LDetSchedule(batch=GAP), "fixed_batch": None}, "needs the paper batch"),
        ({"l_det_schedule": LDetSchedule(batch=STRATIFIED, inputs=9)}, "the stratified batch has 8; use fewer"),
        ({"l_det_schedule": LDetSchedule(first_timestep=999)}, "no input of the paper batch has a timestep of 999"),
    ],
)
def test_what_a_schedule_lacks_is_named(start, options, message):
    with pytest.raises(InvalidInput, match=message):
        start(**options)


def test_a_concept_without_held_out_images(start, toy_concepts):
    with pytest.raises(InvalidInput, match=r"has no held-out images; see held_out\.images"):
        start(concept=toy_concepts[0])
