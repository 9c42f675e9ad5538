"""The perceptual distance has a metric's properties, and diversity is its mean over pairs."""

import itertools

import pytest
import torch
from PIL import Image, ImageFilter

from trainables.miniature.perceptual import PerceptualDistance

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def distance(tiny_path):
    return PerceptualDistance(tiny_path / "clip", torch.device("cpu"))


@pytest.fixture(scope="module")
def images(toy_concepts):
    return [concept.decode()[0] for concept in toy_concepts[:3]]


def test_an_image_has_distance_zero_from_itself_and_order_does_not_matter(distance, images):
    assert distance.between(images, images).abs().max() < 1e-5
    assert torch.allclose(distance.between(images[:1], images[1:2]), distance.between(images[1:2], images[:1]))


def test_a_slight_blur_is_nearer_than_another_image(distance, images):
    blurred = [image.filter(ImageFilter.GaussianBlur(0.4)) for image in images]
    assert (distance.between(images, blurred) < distance.between(images, [*images[1:], images[0]])).all()


def test_diversity_is_the_mean_over_pairs(distance, images):
    pairs = list(itertools.combinations(images, 2))
    expected = distance.between([a for a, _ in pairs], [b for _, b in pairs]).mean().item()
    assert distance.diversity(images) == pytest.approx(expected, rel=1e-4)
    assert distance.diversity([Image.new("RGB", (64, 64), "red")] * 3) == pytest.approx(0, abs=1e-5)
