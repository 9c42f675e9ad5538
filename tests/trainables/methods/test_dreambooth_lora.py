"""DreamBooth-LoRA: its initial values come from the training's seed, and from no global state."""

import torch

from trainables.methods.dreambooth_lora import DreamBoothLoRA
from trainables.training.training import Training


def test_the_global_random_state_is_left_alone_and_the_seed_decides(base, toy_concepts):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    starts = []
    for seed in (0, 0, 1):
        with Training(base, DreamBoothLoRA(), toy_concepts[0], seed=seed) as training:
            starts.append({name: value.clone() for name, value in training.method.state_dict().items()})
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, starts[1][name]) for name, value in starts[0].items())
    assert any(not torch.equal(value, starts[2][name]) for name, value in starts[0].items())
