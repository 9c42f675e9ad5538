"""Base models from folders: what is missing, what is never read, and how every prediction type trains."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file

from trainables.data.framing import central_square
from trainables.errors import InvalidInput
from trainables.methods import MethodSpec
from trainables.models.files import check_folder, fingerprint, resolve
from trainables.models.stable_diffusion import load
from trainables.settings import BaseModelSettings
from trainables.training.training import Training


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
    assert load(folder, BaseModelSettings()).folder == folder


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


RESOLVE_FROM_CACHE = """
import json, sys
from trainables.errors import InvalidInput
from trainables.models.files import commit, resolve
from trainables.settings import BaseModelSettings
try:
    folder = resolve(BaseModelSettings(id="someone/toys", revision=sys.argv[1] or None))
    print(json.dumps([str(folder), commit(folder)]))
except InvalidInput as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture
def resolve_from_cache(tiny_path, tmp_path):
    """Resolve a hub id in a fresh process without a network, whose `HF_HOME` holds two commits of a model."""
    model = tmp_path / "home" / "hub" / "models--someone--toys"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("b" * 40)
    for name in ("a" * 40, "b" * 40):
        shutil.copytree(tiny_path, model / "snapshots" / name)
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}

    def run(revision):
        command = [sys.executable, "-c", RESOLVE_FROM_CACHE, revision]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return run


def test_a_hub_id_is_found_in_the_hubs_cache_without_a_network(resolve_from_cache):
    folder, commit_hash = resolve_from_cache("")
    assert (Path(folder).name, commit_hash) == ("b" * 40, "b" * 40)
    assert resolve_from_cache("a" * 40)[1] == "a" * 40
    assert "cannot be downloaded" in resolve_from_cache("c" * 40)


def test_the_fingerprint_is_of_contents_alone(folder, tiny_path):
    assert fingerprint(folder) == fingerprint(tiny_path)
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.012", "0.013"))
    assert fingerprint(folder) != fingerprint(tiny_path)


def test_dtype_and_resolution(tiny_path):
    base = load(tiny_path, BaseModelSettings(dtype="bfloat16", resolution=32))
    assert base.dtype == torch.bfloat16
    pixels = central_square(Image.new("RGB", (100, 60), "white"), base.resolution)
    assert pixels.shape == (3, 32, 32)
    assert pixels.min() == pixels.max() == 1
    assert base.encode_images(pixels[None])[0].dtype == torch.float32


def test_preprocess_takes_the_central_square(base):
    image = Image.new("RGB", (192, 64), "red")
    image.paste("blue", (64, 0, 128, 64))
    assert torch.allclose(central_square(image, base.resolution)[2], torch.ones(64, 64))


def test_velocity_models_get_a_velocity_target(base):
    latents, noise, steps = torch.randn(2, 4, 16, 16), torch.randn(2, 4, 16, 16), torch.tensor([10, 900])
    _, epsilon = base.corrupt(latents, noise, steps)
    base.schedule.register_to_config(prediction_type="v_prediction")
    _, velocity = base.corrupt(latents, noise, steps)
    alpha = base.schedule.alphas_cumprod[steps].sqrt().view(-1, 1, 1, 1)
    sigma = (1 - base.schedule.alphas_cumprod[steps]).sqrt().view(-1, 1, 1, 1)
    assert torch.equal(epsilon, noise)
    assert torch.allclose(velocity, alpha * noise - sigma * latents, atol=1e-6)
    base.schedule.register_to_config(prediction_type="sample")
    with pytest.raises(InvalidInput, match="prediction type 'sample' is not supported"):
        base.corrupt(latents, noise, steps)


@pytest.fixture
def like_sd2(folder):
    """A base model of the shape of Stable Diffusion 2: velocity, linear projections, heads per level."""
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prediction_type": "v_prediction"}))
    config = UNet2DConditionModel.load_config(folder / "unet")
    levels = len(config["block_out_channels"])
    shape = {"use_linear_projection": True, "attention_head_dim": [2] * levels}
    torch.manual_seed(0)
    UNet2DConditionModel.from_config({**config, **shape}).save_pretrained(folder / "unet")
    return load(folder, BaseModelSettings())


@pytest.mark.parametrize("name", ["custom_diffusion", "dreambooth", "dreambooth_lora", "p_plus", "svdiff"])
def test_velocity_models_are_trained_and_sampled(like_sd2, toy_concepts, name):
    settings = {"prior": None} if name == "custom_diffusion" else {}
    method = MethodSpec(f"trainables.methods.{name}", settings | {"learning_rate": 1e-3})()
    with Training(like_sd2, method, toy_concepts[0]) as training:
        losses = [training.step().l_det for _ in range(4)]
        assert losses[-1] < losses[0]
        pipeline = like_sd2.pipeline()
        assert pipeline.scheduler.config.prediction_type == "v_prediction"
        prompt = f"a photo of a {method.phrase_for(toy_concepts[0])}"
        image = pipeline(prompt, height=64, width=64, num_inference_steps=2, output_type="np").images[0]
    assert np.isfinite(image).all()


def shard(component, weights, *names, index="{}.safetensors.index.json"):
    """Replace a component's single file of weights by an index that names these files, which hold them in turn."""
    state = load_file(component / f"{weights}.safetensors")
    (component / f"{weights}.safetensors").unlink()
    placed = {key: names[number % len(names)] for number, key in enumerate(sorted(state))}
    for name in names:
        path = component / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = {key: state[key] for key, place in placed.items() if place == name}
        save_file(part, path, {"format": "pt"}) if path.suffix == ".safetensors" else torch.save(part, path)
    (component / index.format(weights)).write_text(json.dumps({"metadata": {}, "weight_map": placed}))


PARTS = [("text_encoder", "model"), ("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model")]


@pytest.mark.parametrize(("component", "weights"), PARTS)
def test_shards_are_loaded_and_are_part_of_the_fingerprint(folder, tiny_path, component, weights):
    shard(folder / component, weights, "a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors")
    whole, sharded = load(tiny_path, BaseModelSettings()), load(folder, BaseModelSettings())
    parts = getattr(whole, component).state_dict(), getattr(sharded, component).state_dict()
    assert all(torch.equal(parts[0][name], parts[1][name]) for name in parts[0])
    before, path = fingerprint(folder), folder / component / "a-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    assert fingerprint(folder) != before


@pytest.mark.parametrize(("component", "weights"), PARTS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shard.bin", r"'shard\.bin' as weights, but only \.safetensors are read"),
        ("shard.SAFETENSORS", "only .safetensors are read"),
        ("shard.safetensors.pt", "only .safetensors are read"),
        ("../elsewhere.safetensors", "does not lie beside it"),
        ("deeper/shard.safetensors", "does not lie beside it"),
        ("{outside}/shard.safetensors", "does not lie beside it"),
    ],
)
def test_a_shard_that_is_no_safetensors_file_of_the_folder_is_refused(
    folder, tmp_path, component, weights, name, message
):
    shard(folder / component, weights, name.format(outside=tmp_path))
    with pytest.raises(InvalidInput, match=message):
        resolve(BaseModelSettings(id=str(folder)))
    with pytest.raises(InvalidInput, match=message):
        load(folder, BaseModelSettings())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": ["a"]}', "[" * 10_000])
def test_an_index_that_names_nothing_is_refused(folder, text):
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"index\.json"):
        resolve(BaseModelSettings(id=str(folder)))


def test_a_shard_that_is_missing_is_named(folder):
    shard(folder / "vae", "diffusion_pytorch_model", "a.safetensors")
    (folder / "vae" / "a.safetensors").unlink()
    with pytest.raises(InvalidInput, match=r"'a\.safetensors' as weights, which is missing"):
        resolve(BaseModelSettings(id=str(folder)))


@pytest.mark.parametrize("name", ["adapter_model.bin", "weights.bin", "../unet/x.safetensors"])
def test_weights_that_a_configuration_names_are_checked_too(folder, name):
    config = folder / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"transformers_weights": name}))
    with pytest.raises(InvalidInput, match="as weights"):
        resolve(BaseModelSettings(id=str(folder)))


def test_an_adapter_among_the_weights_is_refused(folder):
    (folder / "text_encoder" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "text_encoder" / "adapter_model.bin").write_bytes(b"a pickle")
    with pytest.raises(InvalidInput, match="adapter"):
        resolve(BaseModelSettings(id=str(folder)))
