"""Custom Diffusion: an attachment that fails halfway leaves nothing behind."""

import pytest
import torch

from trainables.methods import _weights
from trainables.methods.custom_diffusion import CustomDiffusion
from trainables.training.training import Training


class Failure(RuntimeError):
    """Raised by the test itself."""


def test_an_attachment_that_fails_halfway_is_undone(base, toy_concepts, monkeypatch):
    """The word is in place, and two of the weights, when the third cannot be replaced."""
    tokenizer, table = base.tokenizer, base.text_encoder.get_input_embeddings()
    before = {name: value.clone() for name, value in base.unet.state_dict().items()}
    count, float32 = iter(range(3)), _weights.Float32

    def fails_third(weight):
        if next(count) == 2:
            raise Failure
        return float32(weight)

    monkeypatch.setattr(_weights.TrainedWeights.__init__, "__defaults__", (fails_third,))
    with pytest.raises(Failure):
        Training(base, CustomDiffusion(prior=None), toy_concepts[0])
    after = base.unet.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert base.tokenizer is tokenizer
    assert base.text_encoder.get_input_embeddings() is table
