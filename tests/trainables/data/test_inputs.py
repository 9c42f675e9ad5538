"""Inputs: what is kept changes no distribution, augmentations are what they say, the masked loss is the recipe's."""

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from trainables.data.framing import MAGNIFIED, PREFIXES, SMALL, Framing, central_square, draw_framing
from trainables.data.inputs import (
    SOURCES,
    Augmentation,
    FramedImages,
    Inputs,
    InputSource,
    LatentDistributions,
    denoising_loss,
    join,
    predict,
)
from trainables.data.randomness import Streams


@pytest.fixture
def images(toy_concepts):
    return toy_concepts[0].decode()


def streams():
    return Streams(0, "test", SOURCES)


def test_kept_moments_give_the_same_latents_as_encoding_every_time(base, images):
    """To rounding, so the distribution is the same too; and each draw is a new sample."""
    chosen, flips = torch.tensor([0, 1, 0, 2]), torch.tensor([0, 1, 1, 0])
    kept = LatentDistributions(base, images).sample(chosen, flips, streams())
    fresh = FramedImages(base, images, Augmentation()).sample(chosen, flips, streams())
    assert torch.allclose(kept.latents_bchw, fresh.latents_bchw, atol=1e-5)
    again = streams()
    source = LatentDistributions(base, images)
    first, second = (source.sample(chosen[:1], flips[:1], again).latents_bchw for _ in range(2))
    assert not torch.equal(first, second)


def test_samples_of_kept_moments_have_the_posteriors_mean_and_deviation(base, images):
    source = LatentDistributions(base, images)
    many = torch.zeros(4000, dtype=torch.long)
    latents = source.sample(many, many, streams()).latents_bchw
    posterior = base.vae.encode(central_square(images[0], base.resolution)[None]).latent_dist
    scale = base.vae.config.scaling_factor
    assert torch.allclose(latents.mean(dim=0), posterior.mean[0] * scale, atol=0.1 * scale)
    assert torch.allclose(latents.std(dim=0), posterior.std[0] * scale, rtol=0.1)


def test_kept_text_states_are_those_of_encoding_every_time(base, images):
    captions = ["a photo of a robot", "a dark picture of my robot"]
    sources = [
        InputSource(base, images, captions, Augmentation(0.5), keeps_text=keeps_text) for keeps_text in (True, False)
    ]
    kept, fresh = (source.draw_training(6, streams()) for source in sources)
    assert kept.text is not None
    assert fresh.text is None
    assert kept.captions == fresh.captions
    with torch.no_grad():
        assert torch.allclose(predict(base, kept), predict(base, fresh), atol=1e-5)


@pytest.mark.parametrize(
    ("augmentation", "size", "is_discrete"),
    [
        (Augmentation(0.5), (90, 60), True),
        (Augmentation(0.5, random_crop=True), (60, 60), True),  # a square leaves a crop no room
        (Augmentation(0.5, random_crop=True), (90, 60), False),
        (Augmentation(0.5, random_scale=True), (60, 60), False),
    ],
)
def test_moments_are_kept_only_where_views_repeat(augmentation, size, is_discrete):
    assert augmentation.is_discrete([Image.new("RGB", (60, 60)), Image.new("RGB", size)]) is is_discrete


def test_random_crops_reach_every_place_of_a_wide_image():
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_framing((96, 64), 64, crop=True, scale=False, generator=generator) for _ in range(400)]
    assert {round(framing.left * 32) for framing in drawn} == set(range(33))
    assert {framing.top for framing in drawn} == {0.0}


def test_a_crop_shows_its_part():
    image = Image.new("RGB", (128, 64), "black")
    image.paste("white", (64, 0, 128, 64))
    left, right = (Framing(place, 0.0, 64).apply(image, 64, is_mirrored=False) for place in (0.0, 1.0))
    assert left.max() == -1
    assert right.min() == 1
    assert Framing(0.0, 0.0, 64).apply(image, 64, is_mirrored=True).min() == 1


def test_scales_are_those_of_the_recipe():
    """Two of three between a third and the whole, the others 1.2 to 1.4; captions say which."""
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_framing((64, 64), 64, crop=False, scale=True, generator=generator) for _ in range(6000)]
    small = [framing.side for framing in drawn if framing.side <= 64]
    assert abs(len(small) / len(drawn) - 0.66) < 0.03
    assert (min(small), max(small)) == (21, 64)
    assert {framing.side for framing in drawn if framing.side > 64} == set(range(76, 89))
    for framing in drawn:
        expected = SMALL if framing.side < 0.6 * 64 else MAGNIFIED if framing.side > 64 else (0,)
        assert framing.prefix in expected
    assert {framing.prefix for framing in drawn} == set(range(len(PREFIXES)))


def test_a_shrunk_image_lies_on_grey_and_its_mask_inside_it():
    image = Image.new("RGB", (64, 64), "white")
    framing = Framing(0.5, 0.5, 32, x=16, y=8)
    pixels = framing.apply(image, 64, is_mirrored=False)
    assert pixels.unique().tolist() == [0, 1]
    assert pixels[:, 8:40, 16:48].min() == 1
    mask = framing.mask(64, 16)
    assert mask.nonzero().amin(dim=0).tolist() == [3, 5]  # 8 / 4 + 1, 16 / 4 + 1
    assert mask.nonzero().amax(dim=0).tolist() == [8, 10]  # (8 + 32) / 4 - 2, (16 + 32) / 4 - 2
    assert Framing(0.5, 0.5, 80).mask(64, 16).min() == 1
    assert Framing(0.5, 0.5, 64).mask(64, 16).sum() == 14 * 14  # the border is left out, as in the example


def test_captions_say_how_large_the_image_is(base, images):
    source = InputSource(base, images, ["photo of a robot"], Augmentation(random_scale=True), keeps_text=True)
    drawn = source.draw_training(40, streams())
    assert set(drawn.captions) == {prefix + "photo of a robot" for prefix in PREFIXES}
    assert torch.equal(drawn.input_ids_bl, base.tokenize(drawn.captions))
    assert drawn.mask_b1hw.shape == (40, 1, *drawn.noisy_latents_bchw.shape[2:])


def make_inputs(count, mask=None):
    zeros = torch.zeros(count, 4, 2, 2)
    return Inputs(
        (0,) * count, ("",) * count, torch.zeros(count, 3).long(), None, zeros[:, 0, 0, 0], zeros, zeros, mask
    )


def test_the_masked_loss_is_that_of_the_recipe():
    mask = torch.tensor([[1.0, 0], [0, 0]]).expand(2, 1, 2, 2)
    prediction = torch.randn(2, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    expected = (prediction[:, :, 0, 0] ** 2).sum(dim=1).mean()
    assert torch.allclose(denoising_loss(prediction, make_inputs(2, mask)), expected)


def test_the_class_is_added_with_its_weight_and_without_the_mask():
    mask = torch.tensor([[1.0, 0], [0, 0]]).expand(2, 1, 2, 2)
    inputs = join(make_inputs(2, mask), make_inputs(3))
    assert inputs.prior_count == 3
    prediction = torch.randn(5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    own = denoising_loss(prediction[:2], make_inputs(2, mask))
    of_class = F.mse_loss(prediction[2:], torch.zeros(3, 4, 2, 2))
    assert torch.allclose(denoising_loss(prediction, inputs, 0.5), own + 0.5 * of_class)
