"""The fixed batch: drawn once, each source from its own stream, and independent of training."""

import numpy as np
import pytest
import torch

from trainables.errors import InvalidInput
from trainables.methods.textual_inversion import TextualInversion
from trainables.settings import FixedBatchSettings
from trainables.training.training import Training


@pytest.fixture
def start(base, toy_concepts):
    def make(**settings):
        base_training = Training(base, TextualInversion(), toy_concepts[0], fixed_batch=FixedBatchSettings(**settings))
        base_training.close()
        return base_training.fixed_batch

    return make


def test_timesteps_are_drawn_without_replacement(start):
    timesteps = start(size=50, first_timestep=100, last_timestep=149).inputs.timesteps_b
    assert sorted(timesteps.tolist()) == list(range(100, 150))


def test_the_seed_decides(start):
    first, same, other = start(seed=1), start(seed=1), start(seed=2)
    assert torch.equal(first.inputs.noisy_latents_bchw, same.inputs.noisy_latents_bchw)
    assert not torch.equal(first.inputs.noisy_latents_bchw, other.inputs.noisy_latents_bchw)


def test_a_range_of_timesteps_leaves_the_other_sources_as_they_were(start):
    whole, middle = start(), start(first_timestep=300, last_timestep=600)
    assert whole.inputs.images == middle.inputs.images
    assert whole.inputs.captions == middle.inputs.captions
    assert torch.equal(whole.inputs.target_bchw, middle.inputs.target_bchw)  # the noise


class Noting(TextualInversion):
    """Keeps the inputs of every training step."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.batches = []

    def loss(self, base, inputs):
        self.batches.append(inputs)
        return super().loss(base, inputs)


def test_it_shares_no_noise_with_training_even_where_the_seeds_are_equal(base, toy_concepts):
    method, settings = Noting(batch_size=8), FixedBatchSettings(size=8, seed=3)
    with Training(base, method, toy_concepts[0], seed=3, fixed_batch=settings) as training:
        training.step()
        fixed, (trained,) = training.fixed_batch.inputs, method.batches
    assert not torch.equal(trained.target_bchw, fixed.target_bchw)  # the noise
    assert trained.images != fixed.images


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "at least one input, got size 0"),
        ({"size": 9, "last_timestep": 7}, "fewer than the 9 inputs"),
        ({"first_timestep": -1}, "outside the schedule"),
        ({"last_timestep": 1000}, r"outside the schedule's 0\.\.999"),
    ],
)
def test_unusable_settings(start, settings, message):
    with pytest.raises(InvalidInput, match=message):
        start(**settings)


def test_l_det_is_the_mean_of_the_inputs_losses(base, toy_concepts):
    training = Training(base, TextualInversion(), toy_concepts[0])
    row = training.step()
    assert row.l_det == np.mean(row.input_losses)
    prediction = training.method.predict(base, training.fixed_batch.inputs).double()
    by_hand = ((prediction - training.fixed_batch.inputs.target_bchw) ** 2).mean(dim=(1, 2, 3))
    assert row.input_losses == pytest.approx(by_hand.tolist(), rel=1e-5)


def test_measuring_twice_gives_the_same(base, toy_concepts):
    training = Training(base, TextualInversion(), toy_concepts[0])
    first, second = (training.fixed_batch.losses(training.base, training.method) for _ in range(2))
    assert torch.equal(first, second)
