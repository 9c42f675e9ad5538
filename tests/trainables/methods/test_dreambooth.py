"""DreamBooth: its export is read by the libraries' own loaders."""

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

from trainables.methods.dreambooth import DreamBooth
from trainables.training.training import Training


def test_an_export_is_read_by_the_libraries_own_loaders(base, toy_concepts, tmp_path):
    method = DreamBooth(trains_text_encoder=True, learning_rate=0.01)
    with Training(base, method, toy_concepts[0]) as training:
        training.step()
        method.export(tmp_path)
        trained = method.state_dict()
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    text_encoder = CLIPTextModel.from_pretrained(tmp_path / "text_encoder")
    loaded = {f"unet.{name}/value": value for name, value in unet.state_dict().items()}
    loaded |= {f"text_encoder.{name}/value": value for name, value in text_encoder.state_dict().items()}
    assert all(torch.equal(loaded[name], value) for name, value in trained.items())
