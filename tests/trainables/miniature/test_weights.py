"""The embedded weights: whole, small, and of use; `python -m trainables.miniature.evaluate` measures them at length."""

import json

import pytest
import torch
from safetensors import safe_open

from trainables.miniature import CARD, WEIGHTS, concepts, evaluate, miniature_folder
from trainables.settings import QualitySettings


@pytest.fixture(scope="module")
def evaluation():
    settings = QualitySettings(samples=4, inference_steps=6, guidance_scale=3.0)
    return evaluate.Evaluation(miniature_folder(), torch.device("cpu"), 48, settings)


def test_the_weights_are_whole_and_the_card_lists_each_file():
    listed = json.loads((WEIGHTS / CARD).read_text())["sha256"]
    there = {path.relative_to(WEIGHTS).as_posix() for path in WEIGHTS.rglob("*") if path.is_file()}
    assert there == {*listed, CARD, "README.md"}
    assert "## Limits" in (WEIGHTS / "README.md").read_text()


def test_the_weights_are_small_halves():
    files = [*WEIGHTS.rglob("*.safetensors")]
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= 32e6
    for path in files:
        assert path.stat().st_size < 8.1e6
        with safe_open(path, "pt") as tensors:
            assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"F16"}  # noqa: SIM118


@pytest.mark.parametrize("part", ["vae", "clip", "identity", "text_to_image"])
def test_the_networks_reach_their_targets(evaluation, part):
    figures = [*getattr(evaluation, part)()]
    assert figures
    assert [str(one) for one in figures if not one.is_met] == []


def test_textual_inversion_goes_most_of_the_way(evaluation):
    _, (course,) = evaluation.inversion([concepts.FEW[0]], budget=60, every=30, say=print)
    assert course.covered > 0.5
    assert course.l_det[-1] < course.l_det[0]
