"""Contracts of every method: only what should train changes, states are exact, exports load, L_det changes nothing."""

import copy
import json
import pkgutil
import subprocess

import numpy as np
import pytest
import torch

from trainables import methods
from trainables.methods import MethodSpec
from trainables.models.stable_diffusion import load
from trainables.quality.clip import ClipScorer, QualityProbe
from trainables.settings import BaseModelSettings, FixedBatchSettings, QualitySettings
from trainables.training.training import Training

NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules(methods.__path__)
    if module.name != "base" and not module.name.startswith("_")
)
FEW_CLASS_IMAGES = {"prior": {"images": 2, "inference_steps": 1}}
#: Beside each method's own defaults: variants that take other paths through it.
VARIANTS = [
    *((name, {}) for name in NAMES),
    ("dreambooth", {"trains_text_encoder": True, **FEW_CLASS_IMAGES}),
    ("dreambooth_lora", {"learns_word": False, "random_crop": True, "phrase": "sks {class_noun}"}),
    ("dreambooth_lora", {"alpha": 16}),
    ("textual_inversion", {"num_vectors": 3, "batch_size": 4, "micro_batch": 2}),
    ("custom_diffusion", {"micro_batch": 1}),
]


def make(name, settings):
    if name == "custom_diffusion":
        settings = FEW_CLASS_IMAGES | settings
    return MethodSpec(f"trainables.methods.{name}", settings)()


@pytest.fixture(autouse=True)
def own_cache_of_class_images(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAR_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=VARIANTS, ids=lambda variant: "-".join([variant[0], *variant[1]]))
def variant(request):
    return request.param


@pytest.fixture
def concept(toy_concepts):
    return toy_concepts[0]


def weights(base):
    modules = {"text_encoder": base.text_encoder, "vae": base.vae, "unet": base.unet}
    return {
        f"{name}.{key}": value.clone() for name, module in modules.items() for key, value in module.state_dict().items()
    }


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def draw(base, phrase):
    return draw_with(base.pipeline(), phrase)


def draw_with(pipeline, phrase):
    """A sample as numbers: the first pixels of a few rows."""
    image = pipeline(
        f"a photo of a {phrase}", height=64, width=64, num_inference_steps=3, output_type="np",
        generator=torch.Generator().manual_seed(0),
    ).images[0]  # fmt: skip
    return torch.tensor(image[::8, ::8].flatten())


def test_the_base_model_is_restored_bit_for_bit(base, concept, variant):
    before, parts = weights(base), (base.tokenizer, base.text_encoder, base.unet)
    with Training(base, make(*variant), concept) as training:
        for _ in range(2):
            training.step()
    assert same(before, weights(base))
    assert parts == (base.tokenizer, base.text_encoder, base.unet)
    modules = (base.text_encoder, base.vae, base.unet)
    assert not [p for module in modules for p in module.parameters() if p.requires_grad or p.grad is not None]


def test_only_what_trains_changes_while_it_trains(base, concept, variant):
    """Frozen weights are the same objects with the same bits, wherever a method keeps them."""
    frozen = [p for module in (base.text_encoder, base.vae, base.unet) for p in module.parameters()]
    before = [p.detach().clone() for p in frozen]
    with Training(base, make(*variant), concept) as training:
        for _ in range(2):
            training.step()
        assert all(torch.equal(a, b) for a, b in zip(before, frozen, strict=True))


def test_every_trainable_parameter_gets_a_gradient_and_moves(base, concept, variant):
    method = make(*variant)
    with Training(base, method, concept) as training:
        start = {name: value.clone() for name, value in method.state_dict().items()}
        training.step()
        training.step()  # while the second factor of a product is zero, the first gets no gradient
        for parameter in method.parameters():
            assert parameter.dtype == torch.float32
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0
        assert all(not torch.equal(value, start[name]) for name, value in method.state_dict().items())


def test_a_state_is_exact(base, concept, variant):
    with Training(base, make(*variant), concept) as training:
        for _ in range(2):
            training.step()
        saved = training.state_dict()
        expected = [(row.l_det, row.train_loss) for row in (training.step() for _ in range(3))]
        end = training.state_dict()
    with Training(base, make(*variant), concept) as training:
        training.load_state_dict(saved)
        assert [(row.l_det, row.train_loss) for row in (training.step() for _ in range(3))] == expected
        assert same(end, training.state_dict())


def test_l_det_changes_nothing_in_training(base, concept, variant):
    def train(fixed_batch):
        with Training(base, make(*variant), concept, fixed_batch=fixed_batch) as training:
            losses = [training.step().train_loss for _ in range(3)]
            return losses, training.state_dict()

    with_losses, with_state = train(FixedBatchSettings(size=2))
    without_losses, without_state = train(None)
    assert with_losses == without_losses
    assert same(with_state, without_state)


def test_a_seed_repeats_and_two_differ(base, concept, variant):
    def series(seed):
        with Training(base, make(*variant), concept, seed=seed) as training:
            return [training.step().l_det for _ in range(3)]

    first = series(0)
    assert series(0) == first
    assert series(1) != first


def test_l_det_is_independent_of_the_training_stream(base, concept, variant):
    """The inputs of L_det are the same for every seed of training."""

    def inputs(seed):
        with Training(base, make(*variant), concept, seed=seed) as training:
            return training.fixed_batch.inputs

    a, b = inputs(0), inputs(1)
    assert torch.equal(a.noisy_latents_bchw, b.noisy_latents_bchw)
    assert (a.captions, a.images, a.timesteps_b.tolist()) == (b.captions, b.images, b.timesteps_b.tolist())
    assert a.prior_count == 0


@pytest.fixture(scope="module")
def exported(loaded_base, toy_concepts, tiny_path, prefork, tmp_path_factory):
    """Samples of every variant at two steps: drawn in training, and by a fresh process from the exports."""
    root = tmp_path_factory.mktemp("exports")
    concept, tasks, in_training = toy_concepts[0], {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVAR_CACHE", str(root / "cache"))
        for index, (name, settings) in enumerate(VARIANTS):
            method = make(name, settings | {"learning_rate": 0.05, "max_grad_norm": None})
            phrase, base = method.phrase_for(concept), copy.deepcopy(loaded_base)
            with Training(base, method, concept) as training:
                for when, steps in (("early", 1), ("late", 2)):
                    for _ in range(steps):
                        training.step()
                    folder = root / f"{index}-{when}"
                    folder.mkdir()
                    method.export(folder)
                    in_training[folder.name] = draw(base, phrase)
                    tasks[folder.name] = (str(folder), type(method).__module__, type(method).__name__, phrase)
    (root / "tasks.json").write_text(json.dumps([str(tiny_path), tasks]))
    done = subprocess.run(
        [*prefork.python, "-c", LOAD_ELSEWHERE, str(root / "tasks.json")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    drawn = json.loads(done.stdout.strip().splitlines()[-1])
    return in_training, {name: torch.tensor(values) for name, values in drawn.items()}


def test_an_export_loads_into_a_pipeline_elsewhere(exported, variant):
    """In a fresh process, exported weights draw what the trained ones drew, and other weights draw something else."""
    in_training, elsewhere = exported
    early, late = (f"{VARIANTS.index(variant)}-{when}" for when in ("early", "late"))
    assert (in_training[early] - in_training[late]).abs().max() > 1e-3
    for name in (early, late):
        assert torch.allclose(elsewhere[name], in_training[name], atol=1e-4)


LOAD_ELSEWHERE = """
import importlib, json, sys, torch
from pathlib import Path
from diffusers import DDIMScheduler, StableDiffusionPipeline
torch.set_num_threads(1)
base, tasks = json.loads(Path(sys.argv[1]).read_text())
drawn = {}
for name, (export, module, method, phrase) in tasks.items():
    pipeline = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32, local_files_only=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    getattr(importlib.import_module(module), method).load_into(pipeline, Path(export))
    image = pipeline(f"a photo of a {phrase}", height=64, width=64, num_inference_steps=3, output_type="np",
                     generator=torch.Generator().manual_seed(0)).images[0]
    drawn[name] = image[::8, ::8].flatten().tolist()
print(json.dumps(drawn))
"""


@pytest.mark.parametrize(("trained", "loaded"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_an_export_means_the_same_in_another_precision(tiny_path, concept, variant, trained, loaded, tmp_path):
    """Up to rounding: the sample is much nearer to that drawn in training than to that of the untrained model."""
    method = make(variant[0], variant[1] | {"learning_rate": 0.05, "max_grad_norm": None})
    phrase, base = method.phrase_for(concept), load(tiny_path, BaseModelSettings(dtype=trained))
    with Training(base, method, concept) as training:
        for _ in range(3):
            training.step()
        method.export(tmp_path)
        expected = draw(base, phrase)
    pipeline = load(tiny_path, BaseModelSettings(dtype=loaded)).pipeline()
    type(method).load_into(pipeline, tmp_path)
    assert {p.dtype for p in pipeline.unet.parameters()} <= {getattr(torch, loaded), torch.float32}
    untrained = draw(load(tiny_path, BaseModelSettings(dtype=loaded)), phrase)
    assert (draw_with(pipeline, phrase) - expected).norm() < 0.2 * (untrained - expected).norm()


def test_a_second_concept_in_one_pipeline(base, toy_concepts, variant, tmp_path):
    """Whatever was loaded before, the second concept changes the samples."""
    name, settings = variant
    drawn = []
    for index, concept in enumerate(toy_concepts[:2]):
        method = make(name, settings | {"learning_rate": 0.05, "max_grad_norm": None})
        with Training(base, method, concept) as training:
            training.step()
            (tmp_path / str(index)).mkdir()
            method.export(tmp_path / str(index))
    phrase = method.phrase_for(toy_concepts[1])
    for first in (False, True):
        pipeline = copy.deepcopy(base).pipeline()
        if first:
            type(method).load_into(pipeline, tmp_path / "0")
        type(method).load_into(pipeline, tmp_path / "1")
        drawn.append(draw_with(pipeline, phrase))
        assert (drawn[-1] - draw(base, phrase)).abs().max() > 1e-3
    if not method.trains_text or name in ("custom_diffusion", "dreambooth", "dreambooth_lora"):
        return  # weights of the U-Net are shared by both
    assert torch.allclose(drawn[0], drawn[1], atol=1e-4)


class Failure(RuntimeError):
    """Raised by a test itself."""


@pytest.mark.parametrize("part", ["trainables.data.inputs.InputSource.__init__", "torch.optim.AdamW.__init__"])
def test_the_base_model_is_restored_when_a_training_cannot_start(base, concept, variant, part, monkeypatch):
    def fail(*arguments, **options):
        raise Failure

    before, parts = weights(base), (base.tokenizer, base.text_encoder, base.unet)
    monkeypatch.setattr(part, fail)
    with pytest.raises(Failure):
        Training(base, make(*variant), concept)
    assert same(before, weights(base))
    assert parts == (base.tokenizer, base.text_encoder, base.unet)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_models_train_in_float32_and_are_sampled(tiny_path, concept, variant, dtype):
    """Up to rounding, L_det and the samples are those of the model in full precision."""
    (full, full_samples), (half, half_samples) = (
        train_and_sample(tiny_path, concept, variant, name) for name in ("float32", dtype)
    )
    assert half == pytest.approx(full, rel=5e-3)
    assert len(half_samples) == 2
    for sample, expected in zip(half_samples, full_samples, strict=True):
        assert expected.std() > 20
        assert (sample - expected).abs().mean() < 2


def train_and_sample(tiny_path, concept, variant, dtype):
    """Return L_det of two steps, and the pixels of a training and a validation sample, 0..255."""
    base, method = load(tiny_path, BaseModelSettings(dtype=dtype)), make(*variant)
    settings, scorer = QualitySettings(samples=1, inference_steps=1), ClipScorer(str(tiny_path / "clip"), base.device)
    with Training(base, method, concept, fixed_batch=FixedBatchSettings(size=2)) as training:
        l_det = [training.step().l_det for _ in range(2)]
        assert base.dtype == getattr(torch, dtype)
        assert all(parameter.dtype == torch.float32 for parameter in method.parameters())
        images = QualityProbe(base, concept, settings, scorer, method.phrase_for(concept)).measure().images
    return l_det, [torch.tensor(np.asarray(image), dtype=torch.float32) for image in images]


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_plain_and_make_the_method_again(name):
    method = make(name, {})
    settings = json.loads(json.dumps(method.settings()))
    assert MethodSpec(f"trainables.methods.{name}", settings)().settings() == settings


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_makes_a_method(name):
    method_class = type(make(name, {}))
    assert method_class.recipes
    assert method_class.trains
    assert 1 < method_class.window < method_class.budget
    assert 0 < method_class.threshold < 1
    for recipe in method_class.recipes.values():
        assert method_class(**recipe)


def test_all_six_are_found():
    assert {"custom_diffusion", "dreambooth", "dreambooth_lora", "p_plus", "svdiff", "textual_inversion"} <= set(NAMES)
