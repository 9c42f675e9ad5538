"""Base models from folders: what is missing, what is never read, and one path for all."""

import shutil

import pytest
import torch
from PIL import Image

from trainables.base_model import load
from trainables.errors import InvalidInput
from trainables.model_files import check_folder, fingerprint, resolve
from trainables.settings import BaseModelSettings


@pytest.fixture
def folder(tiny_path, tmp_path):
    """A base model that a test may damage."""
    copy = tmp_path / "model"
    shutil.copytree(tiny_path, copy)
    return copy


@pytest.mark.parametrize("component", ["tokenizer", "text_encoder", "vae", "unet", "scheduler"])
def test_a_missing_component_is_named(folder, component):
    shutil.rmtree(folder / component)
    with pytest.raises(InvalidInput, match=f"lacks its component '{component}'"):
        resolve(BaseModelSettings(id=str(folder)))


def test_weights_only_as_pickle_are_never_read(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(InvalidInput, match=r"'unet' only as pickle \(diffusion_pytorch_model.bin\).*convert it"):
        resolve(BaseModelSettings(id=str(folder)))


def test_a_pickle_beside_safetensors_is_left_alone(folder):
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"not even a pickle")
    load(folder, BaseModelSettings())


def test_missing_weights_and_index(folder):
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(InvalidInput, match=r"lacks vae/diffusion_pytorch_model\.safetensors"):
        check_folder(folder)
    (folder / "model_index.json").unlink()
    with pytest.raises(InvalidInput, match=r"lacks model_index\.json"):
        check_folder(folder)


def test_damaged_weights_are_named(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InvalidInput, match="cannot be loaded"):
        load(folder, BaseModelSettings())


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere", "a/b/c"])
def test_a_folder_that_does_not_exist(name):
    with pytest.raises(InvalidInput, match="does not exist; give a folder"):
        resolve(BaseModelSettings(id=name))


def test_a_hub_id_without_a_hub():
    with pytest.raises(InvalidInput, match="'nobody/nothing' cannot be downloaded"):
        resolve(BaseModelSettings(id="nobody/nothing"))


def test_the_fingerprint_is_of_contents_alone(folder, tiny_path):
    assert fingerprint(folder) == fingerprint(tiny_path)
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.012", "0.013"))
    assert fingerprint(folder) != fingerprint(tiny_path)


def test_dtype_and_resolution(tiny_path):
    base = load(tiny_path, BaseModelSettings(dtype="bfloat16", resolution=32))
    assert base.dtype == torch.bfloat16
    pixels = base.preprocess(Image.new("RGB", (100, 60), "white"))
    assert pixels.shape == (3, 32, 32)
    assert pixels.min() == pixels.max() == 1
    assert base.encode(pixels[None])[0].dtype == torch.float32


def test_preprocess_takes_the_central_square(base):
    image = Image.new("RGB", (192, 64), "red")
    image.paste("blue", (64, 0, 128, 64))
    assert torch.allclose(base.preprocess(image)[2], torch.ones(64, 64))


def test_velocity_models_get_a_velocity_target(base):
    latents, noise, steps = torch.randn(2, 4, 16, 16), torch.randn(2, 4, 16, 16), torch.tensor([10, 900])
    _, epsilon = base.diffuse(latents, noise, steps)
    base.schedule.register_to_config(prediction_type="v_prediction")
    _, velocity = base.diffuse(latents, noise, steps)
    alpha = base.schedule.alphas_cumprod[steps].sqrt().view(-1, 1, 1, 1)
    sigma = (1 - base.schedule.alphas_cumprod[steps]).sqrt().view(-1, 1, 1, 1)
    assert torch.equal(epsilon, noise)
    assert torch.allclose(velocity, alpha * noise - sigma * latents, atol=1e-6)
    base.schedule.register_to_config(prediction_type="sample")
    with pytest.raises(InvalidInput, match="prediction type 'sample' is not supported"):
        base.diffuse(latents, noise, steps)
