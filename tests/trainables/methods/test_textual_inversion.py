"""Textual Inversion: a word's vectors train, everything else stays, and diffusers loads what it exports."""

import copy
import dataclasses
import json
import subprocess

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trainables.data.inputs import LatentDistributions
from trainables.errors import InvalidInput
from trainables.methods.textual_inversion import TextualInversion
from trainables.models.stable_diffusion import load
from trainables.quality.clip import ClipScorer, QualityProbe
from trainables.settings import BaseModelSettings, QualitySettings
from trainables.training.training import Training


def weights(base):
    modules = {"text_encoder": base.text_encoder, "vae": base.vae, "unet": base.unet}
    return {
        f"{name}.{key}": value.clone() for name, module in modules.items() for key, value in module.state_dict().items()
    }


def test_every_other_weight_stays_bit_identical(base, toy_concepts):
    before = weights(base)
    tokenizer = base.tokenizer
    training = Training(base, TextualInversion(weight_decay=0.5), toy_concepts[0])
    vectors = training.state_dict()["method.vectors"].clone()
    for _ in range(3):
        training.step()
    assert not torch.equal(vectors, training.state_dict()["method.vectors"])
    training.close()
    after = weights(base)
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert base.tokenizer is tokenizer


def test_only_the_vectors_get_a_gradient(base, toy_concepts):
    training = Training(base, TextualInversion(), toy_concepts[0])
    trains = [p for group in training.method.parameter_groups() for p in group["params"]]
    training.step()
    assert len(trains) == 1
    assert trains[0].grad.abs().sum() > 0
    modules = (base.text_encoder, base.vae, base.unet)
    assert not [p for module in modules for p in module.parameters() if p.requires_grad or p.grad is not None]


def test_starts_from_the_class_noun(base, toy_concepts):
    concept = toy_concepts[0]
    method = TextualInversion()
    table = base.text_encoder.get_input_embeddings().weight
    ids = base.tokenizer(concept.class_noun, add_special_tokens=False)["input_ids"]
    method.attach(base, concept, torch.Generator())
    assert torch.equal(method.state_dict()["vectors"], table[ids].float().mean(dim=0)[None])


@pytest.mark.parametrize("word", ["photo", "<|endoftext|>"])
def test_a_placeholder_that_is_already_a_word_is_refused(base, toy_concepts, word):
    concept = dataclasses.replace(toy_concepts[0], placeholder=word)
    with pytest.raises(InvalidInput, match="is a word of the tokenizer already"):
        TextualInversion().attach(base, concept, torch.Generator())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be positive, got 0"),
        ({"learning_rate": float("nan")}, "got nan"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"flip_probability": 1.5}, "got 1.5"),
        ({"num_vectors": 0}, "num_vectors must be at least 1, got 0"),
        ({"templates": ["a photo"]}, "exactly one"),
        ({"templates": "a photo of {}"}, "templates must be a list of texts, got 'a photo of {}'"),
        ({"templates": None}, "templates must be a list of texts, got None"),
        ({"batch_size": "two"}, "batch_size must be a whole number, got 'two'"),
        ({"batch_size": 2.5}, "batch_size must be a whole number, got 2.5"),
        ({"batch_size": 4, "micro_batch": 3}, "micro_batch must divide batch_size 4, got 3"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, got 'fast'"),
        ({"max_grad_norm": True}, "max_grad_norm must be a number or null, got True"),
        ({"prior": True}, "prior must be its settings, .*, got True"),
        ({"prior": {"images": "all"}}, "prior.images must be a whole number, got 'all'"),
    ],
)
def test_unusable_settings(settings, message):
    with pytest.raises(InvalidInput, match=message):
        TextualInversion(**settings)


@pytest.mark.parametrize("num_vectors", [1, 3])
def test_the_placeholder_means_its_vectors_in_a_plain_table_too(base, toy_concepts, num_vectors):
    """Vectors beside the table are the same as a resized table: same text states."""
    concept = toy_concepts[0]
    method = TextualInversion(num_vectors=num_vectors)
    method.attach(base, concept, torch.Generator())
    words = len(base.tokenizer("a photo of a")["input_ids"])
    method.load_state_dict({"vectors": torch.randn(num_vectors, base.text_encoder.config.hidden_size)})
    ids = base.tokenize([f"a photo of a {concept.placeholder}"])
    first = base.tokenizer.convert_tokens_to_ids(concept.placeholder)
    assert ids[0, words - 1 : words - 1 + num_vectors].tolist() == [*range(first, first + num_vectors)]
    with torch.no_grad():
        ours = base.text_encoder(ids)[0]
        vectors, tokenizer = method.state_dict()["vectors"].clone(), base.tokenizer
        method.detach()
        base.text_encoder.resize_token_embeddings(len(tokenizer))
        base.text_encoder.get_input_embeddings().weight[first : first + num_vectors] = vectors
        theirs = base.text_encoder(ids)[0]
    assert torch.equal(ours, theirs)


def test_every_vector_trains(base, toy_concepts):
    training = Training(base, TextualInversion(num_vectors=3, weight_decay=0.0), toy_concepts[0])
    training.step()
    (group,) = training.method.parameter_groups()
    assert group["params"][0].grad.abs().sum(dim=1).min() > 0
    assert len(training.state_dict()["method.vectors"].unique(dim=0)) == 3  # they started from the same vector


def test_a_state_with_another_number_of_vectors_is_refused(base, toy_concepts):
    method = TextualInversion(num_vectors=2)
    method.attach(base, toy_concepts[0], torch.Generator())
    with pytest.raises(InvalidInput, match=r"of shape \(1, 32\), expected \(2, 32\)"):
        method.load_state_dict({"vectors": torch.zeros(1, 32)})


@pytest.mark.parametrize("ending", ["_1", "_3"])
def test_a_token_that_pipelines_would_take_for_a_vector_is_refused(base, toy_concepts, ending):
    concept = toy_concepts[0]
    base.tokenizer = copy.deepcopy(base.tokenizer)
    base.tokenizer.add_tokens([concept.placeholder + ending])
    with pytest.raises(InvalidInput, match=f"already .{concept.placeholder}{ending}.; choose another"):
        TextualInversion(num_vectors=3).attach(base, concept, torch.Generator())


def test_vectors_without_room_in_a_caption_are_refused(base, toy_concepts):
    before = base.tokenizer
    with pytest.raises(InvalidInput, match=r"has 4\d tokens, and the text encoder reads 32; choose .* fewer vectors"):
        Training(base, TextualInversion(num_vectors=40), toy_concepts[0])
    assert base.tokenizer is before


def test_a_phrase_without_the_placeholder_is_refused(base, toy_concepts):
    with pytest.raises(InvalidInput, match=r"phrase 'sks .*' lacks the placeholder '<.*>', whose embedding would not"):
        Training(base, TextualInversion(phrase="sks {class_noun}"), toy_concepts[0])


def test_parts_of_a_batch_have_the_gradient_of_the_whole(base, toy_concepts):
    def state(**settings):
        with Training(copy.deepcopy(base), TextualInversion(batch_size=4, **settings), toy_concepts[0]) as training:
            losses = [training.step().train_loss for _ in range(3)]
            return torch.tensor(losses), training.state_dict()["method.vectors"]

    for whole, parts in zip(state(), state(micro_batch=1), strict=True):
        assert torch.allclose(whole, parts, atol=1e-5)


LOAD_ELSEWHERE = """
import json, sys, torch
from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained(sys.argv[1], torch_dtype=torch.float32, local_files_only=True)
pipeline.set_progress_bar_config(disable=True)
pipeline.load_textual_inversion(sys.argv[2])
image = pipeline(sys.argv[3], height=64, width=64, num_inference_steps=4, output_type="np",
                  generator=torch.Generator().manual_seed(0)).images[0]
print(json.dumps(image[::8, ::8].flatten().tolist()))
"""


@pytest.mark.parametrize("num_vectors", [1, 3])
def test_diffusers_loads_the_export_in_a_fresh_process(base, toy_concepts, tiny_path, prefork, tmp_path, num_vectors):
    concept = toy_concepts[0]
    training = Training(base, TextualInversion(learning_rate=0.5, num_vectors=num_vectors), concept)
    for name, steps in (("early", 1), ("late", 5)):
        for _ in range(steps):
            training.step()
        (tmp_path / name).mkdir()
        training.method.export(tmp_path / name)
    exported = load_file(tmp_path / "late" / "learned_embeds.safetensors")
    assert torch.equal(exported[concept.placeholder], training.state_dict()["method.vectors"])
    prompt = f"a photo of a {concept.placeholder}"

    def sample(name):
        arguments = [str(tiny_path), str(tmp_path / name), prompt]
        done = subprocess.run(
            [*prefork.python, "-c", LOAD_ELSEWHERE, *arguments], capture_output=True, text=True, check=True
        )
        return torch.tensor(json.loads(done.stdout.strip().splitlines()[-1]))

    ours = base.pipeline()(
        prompt, height=64, width=64, num_inference_steps=4, output_type="np",
        generator=torch.Generator().manual_seed(0),
    ).images[0]  # fmt: skip
    late, early = sample("late"), sample("early")
    assert torch.allclose(late, torch.tensor(ours[::8, ::8].flatten()), atol=1e-5)
    assert (late - early).abs().max() > 1e-3


def test_half_precision_models_are_sampled_and_train_in_float32(tiny_path, toy_concepts):
    base = load(tiny_path, BaseModelSettings(dtype="bfloat16"))
    training = Training(base, TextualInversion(), toy_concepts[0])
    training.step()
    assert training.state_dict()["method.vectors"].dtype == torch.float32
    assert base.text_encoder.dtype == torch.bfloat16
    settings, scorer = QualitySettings(samples=1, inference_steps=2), ClipScorer(str(tiny_path / "clip"), base.device)
    measured = QualityProbe(base, toy_concepts[0], settings, scorer).measure()
    assert len(measured.images) == 2
    assert measured.seconds.keys() == {"train", "val"}
    with Training(load(tiny_path, BaseModelSettings()), TextualInversion(), toy_concepts[0]) as full_precision:
        full_precision.step()
        expected = QualityProbe(full_precision.base, toy_concepts[0], settings, scorer).measure()
    for sample, other in zip(measured.images, expected.images, strict=True):
        assert np.abs(np.asarray(sample, dtype=float) - np.asarray(other, dtype=float)).mean() < 3
    assert measured.scores == pytest.approx(expected.scores, abs=0.005)


@pytest.mark.parametrize("count", [1, 2])
def test_concepts_of_few_images(base, toy_concepts, count):
    """Every image is shown, and no other; L_det is the mean squared error on what the fixed inputs show."""
    concept = dataclasses.replace(toy_concepts[0], images=toy_concepts[0].images[:count])
    with Training(base, TextualInversion(), concept) as training:
        inputs = training.fixed_batch.inputs
        assert set(inputs.images) == set(range(count))
        row = training.step()
        with torch.no_grad():
            prediction = base.predict(
                inputs.noisy_latents_bchw, inputs.timesteps_b, base.encode_text(inputs.input_ids_bl)
            )
        assert row.l_det == pytest.approx((prediction - inputs.target_bchw).square().mean().item(), rel=1e-5)
        latents = LatentDistributions(base, concept.decode()).mean_nfchw
        assert len(latents) == count
        noise_free = [
            (inputs.noisy_latents_bchw[i] - inputs.target_bchw[i] * _noise_share(base, t)) / _signal_share(base, t)
            for i, t in enumerate(inputs.timesteps_b.tolist())
        ]
        nearest = [
            min(range(count), key=lambda image: (latents[image] - latent).square().mean(dim=(1, 2, 3)).min().item())
            for latent, t in zip(noise_free, inputs.timesteps_b.tolist(), strict=True)
            if t < 900  # later ones hold hardly anything of the image
        ]
        shown = [image for image, t in zip(inputs.images, inputs.timesteps_b.tolist(), strict=True) if t < 900]
        assert nearest == shown


def _signal_share(base, timestep):
    return base.schedule.alphas_cumprod[timestep].sqrt()


def _noise_share(base, timestep):
    return (1 - base.schedule.alphas_cumprod[timestep]).sqrt()
