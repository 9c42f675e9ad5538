"""DVAR's search space and the paper's settings, as functions of the budget."""

import optuna
import pytest
from ray.tune.search.optuna import OptunaSearch

from search_spaces.defaults import MethodDefaults
from search_spaces.dvar import default_params, space


@pytest.mark.parametrize("budget", [4, 5, 20, 150, 500, 1000, 6100, 100_000])
def test_every_window_can_stop(budget):
    window = space(budget)["window"]
    assert 2 <= window.low <= window.high < budget


@pytest.mark.parametrize(
    ("method", "budget", "setting"),
    [
        ("textual_inversion", 6100, (310, 0.15)),
        ("dreambooth_lora", 1000, (440, 0.40)),
        ("custom_diffusion", 500, (180, 0.15)),
        ("textual_inversion", 610, (31, 0.15)),
        ("my_own_method", 6100, (310, 0.15)),
    ],
)
def test_the_papers_settings_scale_with_the_budget(method, budget, setting):
    assert tuple(default_params(method, budget).values()) == setting


def test_a_method_that_the_paper_lacks_brings_its_own():
    defaults = MethodDefaults(budget=500, window=50, threshold=0.3)
    assert default_params("my_own_method", 1000, defaults) == {"window": 100, "threshold": 0.3}
    assert default_params("dreambooth_lora", 1000, defaults) == {"window": 440, "threshold": 0.40}


@pytest.mark.parametrize("budget", [4, 10, 150, 6100])
def test_the_papers_setting_lies_in_the_space(budget):
    ranges = space(budget)
    for name, value in default_params("textual_inversion", budget).items():
        assert ranges[name].low <= value <= ranges[name].high


def test_a_fixed_stride_leaves_windows_of_two_evaluations():
    assert space(1000, {"stride": 25})["window"].low == 50
    assert space(1000, {"stride": 1, "relative": True}) == space(1000)
    with pytest.raises(ValueError, match="a stride of 401 steps leaves no window to search in 1000 steps"):
        space(1000, {"stride": 401})


def test_too_small_a_budget():
    with pytest.raises(ValueError, match="budget of 3 steps is too small"):
        space(3)


def test_optuna_and_rays_search_take_it_as_it_is():
    trial = optuna.create_study().ask(space(6100))
    assert set(trial.params) == {"window", "threshold"}
    suggested = OptunaSearch(space(6100), metric="x", mode="min").suggest("a")
    assert set(suggested) == {"window", "threshold"}
