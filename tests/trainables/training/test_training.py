"""Training: determinism, exact resume, and L_det without side effects (invariants 1 and 3)."""

import pytest
import torch

from trainables.errors import InvalidInput
from trainables.methods.textual_inversion import TextualInversion
from trainables.tensors import part
from trainables.training.training import NonFiniteLossError, Training


@pytest.fixture
def train(loaded_base, toy_concepts):
    """Run some steps from the start, or from a state; return the rows and the final state."""

    def run(steps, state=None, seed=0, concept=toy_concepts[0], **options):
        training = Training(loaded_base, TextualInversion(), concept, seed=seed, **options)
        try:
            if state:
                training.load_state_dict(state)
            rows = [training.step() for _ in range(steps)]
            return rows, training.state_dict()
        finally:
            training.close()

    return run


def series(rows):
    return [row.l_det for row in rows]


def test_one_seed_repeats_and_two_differ(train):
    first, same, other = train(5), train(5), train(5, seed=1)
    assert series(first[0]) == series(same[0])
    assert series(first[0]) != series(other[0])


def test_with_and_without_l_det_trains_the_same_weights_bit_for_bit(train):
    torch.manual_seed(5)
    _, measured = train(10)
    _, unmeasured = train(10, fixed_batch=None)
    assert measured.keys() == unmeasured.keys()
    for name, value in measured.items():
        assert torch.equal(value, unmeasured[name]), name


@pytest.mark.parametrize("interrupted_at", [1, 4, 9])
def test_resume_is_exact(train, interrupted_at):
    whole, final = train(10)
    first, state = train(interrupted_at)
    rest, resumed = train(10 - interrupted_at, state=state)
    assert series(first + rest) == series(whole)
    assert [row.train_loss for row in first + rest] == [row.train_loss for row in whole]
    assert all(torch.equal(value, resumed[name]) for name, value in final.items())


def test_l_det_does_not_depend_on_the_training_stream(train, base, toy_concepts):
    """Trainings of two seeds draw different batches, and measure the same L_det of the same weights."""
    (rows, state), (others, _) = (train(3, seed=seed) for seed in (0, 1))
    assert rows[0].train_loss != others[0].train_loss
    with Training(base, TextualInversion(), toy_concepts[0], seed=1) as training:
        fresh = training.initial_losses
        training.method.load_state_dict(part(state, "method"))
        measured = training.fixed_batch.losses(base, training.method)
    assert measured.tolist() == list(rows[-1].input_losses)
    with Training(base, TextualInversion(), toy_concepts[0], seed=0) as training:
        assert training.initial_losses == fresh


def test_global_random_state_is_left_alone(train):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(2)
    assert torch.equal(before, torch.get_rng_state())


def test_l_det_falls(train):
    rows, _ = train(60)
    values = series(rows)
    assert values[-1] < values[0]


def test_nan_names_concept_and_step(loaded_base, toy_concepts):
    training = Training(loaded_base, TextualInversion(), toy_concepts[1])
    try:
        training.step()
        training.method.load_state_dict({"vectors": training.method.state_dict()["vectors"] * float("nan")})
        with pytest.raises(NonFiniteLossError, match=rf"{toy_concepts[1].name}.*L_det became nan at step 2"):
            training.step()
    finally:
        training.close()


def test_a_failure_to_start_leaves_the_base_model_alone(base, toy_concepts):
    words = base.tokenizer
    broken = TextualInversion(flip_probability=1.0)
    broken.templates = ("no placeholder {0} {1}",)
    with pytest.raises(InvalidInput, match=r"caption 'no placeholder \{0\} \{1\}' is not understood"):
        Training(base, broken, toy_concepts[0])
    assert base.tokenizer is words
