"""Weights trained beside frozen ones: what the module sees, what waits elsewhere, what comes back."""

import pytest
import torch
from torch import nn

from trainables.methods._weights import TrainedWeights


def module(device="cpu"):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).to(device, torch.bfloat16).requires_grad_(False)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_the_module_sees_the_copy_and_gets_its_own_weight_back(device):
    root = module(device)
    frozen, before = root[0].weight, root[0].weight.clone()
    trained = TrainedWeights(root, ["0.weight"])
    (copy,) = trained.parameters
    assert (copy.dtype, copy.device.type) == (torch.float32, device)
    assert frozen.device.type == "cpu"  # it makes room on the GPU while nothing reads it
    with torch.no_grad():
        copy.add_(1)
    assert torch.equal(root[0].weight, (before.float() + 1).to(torch.bfloat16))
    assert root[0].weight.device.type == device
    root(torch.ones(1, 3, device=device, dtype=torch.bfloat16)).sum().backward()
    assert copy.grad.abs().sum() > 0
    trained.remove()
    assert root[0].weight is frozen
    assert torch.equal(frozen, before)
    assert frozen.device.type == device


def test_a_module_that_holds_its_weights_itself():
    """A weight whose name has no dot, as that of a text encoder that is a table alone."""
    root = nn.Embedding(5, 3).requires_grad_(False)
    frozen = root.weight
    trained = TrainedWeights(root, ["weight"])
    assert list(trained.state_dict()) == ["weight/value"]
    trained.remove()
    assert root.weight is frozen


def test_a_state_goes_into_another_module():
    first, second = module(), module()
    source, target = (TrainedWeights(root, ["0.weight", "1.bias"]) for root in (first, second))
    with torch.no_grad():
        source.parameters[0].add_(0.5)
    target.load_state_dict(source.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(source.parameters, target.parameters, strict=True))
    assert list(source.weights()) == ["0.weight", "1.bias"]
    with pytest.raises(KeyError):
        target.load_state_dict({})
