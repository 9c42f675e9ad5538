"""P+: what its text encoder cannot serve is refused."""

import pytest

from trainables.methods.p_plus import PPlus
from trainables.training.training import Training


def test_states_of_an_inner_layer_are_refused(base, toy_concepts):
    with (
        Training(base, PPlus(), toy_concepts[0]),
        pytest.raises(ValueError, match="leave clip_skip out"),
    ):
        base.pipeline()("a toy", num_inference_steps=1, clip_skip=1)
