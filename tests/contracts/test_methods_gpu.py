"""Every method on a GPU: the base model comes back bit for bit, and a resumed training goes on where it was."""

import pytest
import torch

from orchestrator import plugins
from trainables.methods import MethodSpec
from trainables.models.stable_diffusion import load
from trainables.settings import BaseModelSettings
from trainables.training.training import Training

DEVICE = "cuda"
FEW = {"prior": {"images": 2, "inference_steps": 1}}
NAMES = plugins.METHODS.names()

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [*((name, {}) for name in NAMES), ("textual_inversion", {"batch_size": 4, "micro_batch": 1}), ("dreambooth", FEW)],
)
def test_a_method_leaves_nothing_behind_and_goes_on(
    tiny_path, toy_concepts, tmp_path, monkeypatch, name, settings, dtype
):
    monkeypatch.setenv("DVAR_CACHE", str(tmp_path))
    spec = MethodSpec(f"trainables.methods.{name}", (FEW if name == "custom_diffusion" else {}) | settings)
    base = load(tiny_path, BaseModelSettings(dtype=dtype), DEVICE)
    before = {key: value.clone() for key, value in base.unet.state_dict().items()}
    with Training(base, spec(), toy_concepts[0]) as training:
        for _ in range(2):
            training.step()
        state = training.state_dict()
        expected = [training.step().l_det for _ in range(3)]
    assert {value.device.type for value in state.values()} == {"cpu"}
    with Training(base, spec(), toy_concepts[0]) as training:
        training.load_state_dict(state)
        assert [training.step().l_det for _ in range(3)] == pytest.approx(expected, rel=1e-3)
    after = base.unet.state_dict()
    assert all(value.device.type == DEVICE and torch.equal(value, before[key]) for key, value in after.items())
