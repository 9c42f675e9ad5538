"""P+: two concepts in one pipeline, and what its text encoder cannot serve is refused."""

import copy

import pytest
import torch

from trainables.methods.p_plus import PPlus
from trainables.training.training import Training


def test_states_of_an_inner_layer_are_refused(base, toy_concepts):
    with (
        Training(base, PPlus(), toy_concepts[0]),
        pytest.raises(ValueError, match="leave clip_skip out"),
    ):
        base.pipeline()("a toy", num_inference_steps=1, clip_skip=1)


def test_of_two_concepts_in_one_pipeline_the_first_keeps_its_vectors(base, toy_concepts, tmp_path):
    for index in (0, 1):
        with Training(base, PPlus(learning_rate=0.05), toy_concepts[index]) as training:
            training.step()
            (tmp_path / str(index)).mkdir()
            training.method.export(tmp_path / str(index))
    states = []
    for loaded in ("0", "01"):
        pipeline = copy.deepcopy(base).pipeline()
        for index in loaded:
            PPlus.load_into(pipeline, tmp_path / index)
        ids = pipeline.tokenizer(f"a photo of a {toy_concepts[0].placeholder}", return_tensors="pt").input_ids
        states.append(pipeline.text_encoder(ids)[0])
    assert torch.allclose(*states, atol=1e-6)
