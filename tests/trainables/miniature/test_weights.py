"""The embedded weights are intact, small and useful; `tests/benchmarks/evaluate_miniature.py` measures more."""

import json

import pytest
import torch
from safetensors import safe_open

from trainables.miniature import curves, miniature_folder
from trainables.miniature.entries import FEW
from trainables.miniature.evaluate import WeightsEvaluator
from trainables.miniature.recipes import RECIPES, Recipe
from trainables.models.embedded import CARD, WEIGHTS
from trainables.settings import QualitySettings

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def evaluator():
    settings = QualitySettings(samples=4, inference_steps=6, guidance_scale=3.0)
    return WeightsEvaluator(miniature_folder(), torch.device("cpu"), 48, settings)


def test_the_card_lists_every_file_of_the_weights():
    listed = json.loads((WEIGHTS / CARD).read_text())["sha256"]
    stored = {path.relative_to(WEIGHTS).as_posix() for path in WEIGHTS.rglob("*") if path.is_file()}
    assert stored == {*listed, CARD, "README.md"}
    assert "## Limits" in (WEIGHTS / "README.md").read_text()


def test_the_weights_are_small_and_in_half_precision():
    files = [*WEIGHTS.rglob("*.safetensors")]
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= 32e6
    for path in files:
        assert path.stat().st_size < 8.1e6
        with safe_open(path, "pt") as tensors:
            assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"F16"}  # noqa: SIM118


@pytest.mark.parametrize("part", ["vae", "clip", "identity", "text_to_image"])
def test_the_networks_reach_their_targets(evaluator, part):
    metrics = [*getattr(evaluator, part)()]
    assert metrics
    assert [str(metric) for metric in metrics if not metric.is_met] == []


#: For each method: settings with a higher rate than its recipe's, the few steps that then suffice, and the least share
#: of the way to the real images' score that they must cover.
QUICK = {
    "textual_inversion": ({"learning_rate": 1e-2}, 60, 0.5),
    "p_plus": ({"learning_rate": 1e-2}, 60, 0.3),
    "dreambooth_lora": ({"learning_rate": 2e-3}, 40, 0.5),
    "dreambooth": ({"learning_rate": 1e-4}, 30, 0.5),
    "custom_diffusion": ({"learning_rate": 2e-3, "prior": None, "random_scale": False}, 60, 0.3),
    "svdiff": ({"learning_rate": 2e-2}, 30, 0.5),
}


def test_every_recipe_is_tested():
    assert QUICK.keys() == RECIPES.keys()


@pytest.mark.parametrize("method", QUICK)
def test_every_method_learns_a_concept(method):
    settings, budget, least = QUICK[method]
    recipe = Recipe(RECIPES[method].settings | settings | {"batch_size": 4}, budget, budget)
    samples = QualitySettings(samples=4, inference_steps=6, guidance_scale=3.0)
    task = curves.Task(miniature_folder(), "cpu", method, recipe, samples)
    (curve,) = curves.learn(task, [FEW[0]], workers=1)
    assert curve.covered > least
    assert curve.l_det[-1] < curve.l_det[0]
