"""The embedded weights: whole, small, and of use; `python -m trainables.miniature.evaluate` measures them at length."""

import json

import pytest
import torch
from safetensors import safe_open

from trainables.miniature import CARD, WEIGHTS, curves, evaluate, miniature_folder
from trainables.miniature.entries import FEW
from trainables.miniature.recipes import RECIPES, Recipe
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


#: Of each method, a higher rate than its recipe's, at which few steps suffice, and how far they go at least.
QUICK = {
    "textual_inversion": ({"learning_rate": 1e-2}, 60, 0.5),
    "p_plus": ({"learning_rate": 1e-2}, 60, 0.3),
    "dreambooth_lora": ({"learning_rate": 2e-3}, 40, 0.5),
    "dreambooth": ({"learning_rate": 1e-4}, 30, 0.5),
    "custom_diffusion": ({"learning_rate": 2e-3, "prior": None, "random_scale": False}, 60, 0.3),
    "svdiff": ({"learning_rate": 2e-2}, 30, 0.5),
}


def test_every_recipe_is_tried():
    assert QUICK.keys() == RECIPES.keys()


@pytest.mark.parametrize("method", QUICK)
def test_every_method_goes_most_of_the_way(method):
    settings, budget, least = QUICK[method]
    recipe = Recipe(RECIPES[method].settings | settings | {"batch_size": 4}, budget, budget)
    samples = QualitySettings(samples=4, inference_steps=6, guidance_scale=3.0)
    task = curves.Task(miniature_folder(), "cpu", method, recipe, samples)
    (curve,) = curves.learn(task, [FEW[0]], workers=1)
    assert curve.covered > least
    assert curve.l_det[-1] < curve.l_det[0]


def test_the_earliest_stop_is_that_of_the_definition():
    """The ratio of variances from prefix sums, also for values far from zero, against `var` itself."""
    steps = torch.arange(200, dtype=torch.float64)
    values = 1e3 + torch.exp(-steps / 30) + 0.05 * torch.randn(200, generator=torch.Generator().manual_seed(0))
    for window, threshold in ((10, 0.1), (40, 0.2), (150, 0.9), (20, 1e-4)):
        by_hand = [
            step
            for step in range(window + 1, 201)
            if values[step - window : step].var(correction=0) < threshold * values[:step].var(correction=0)
        ]
        ratios = curves.variance_ratios(values, window)
        assert curves.first_stop(ratios, window, threshold) == (by_hand[0] if by_hand else 200)
