"""Every criterion's space: it satisfies the interface, its settings make criteria, the first setting lies inside."""

import importlib

import optuna
import pytest

from orchestrator import criteria
from search_spaces.base import SearchSpaceModule
from search_spaces.defaults import MethodDefaults
from search_spaces.paper import PAPER

NAMES = [name for name in criteria.names() if name != "never"]
BUDGETS = [4, 20, 150, 500, 6100]


def module(name):
    return importlib.import_module(f"search_spaces.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_every_module_satisfies_the_interface(name):
    assert isinstance(module(name), SearchSpaceModule)
    assert module(name).space(500, {}) == module(name).space(500)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("budget", BUDGETS)
def test_every_suggestion_makes_a_criterion(name, budget):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        assert criteria.load(name, **study.ask(module(name).space(budget)).params)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("method", [*PAPER, "mine:Method"])
def test_the_first_setting_lies_inside(name, budget, method):
    ranges = module(name).space(budget)
    for defaults in (None, *(MethodDefaults(100, 70, alpha) for alpha in (0.2, 0.333, 0.97, 0.001))):
        setting = module(name).default_params(method, budget, defaults)
        assert setting.keys() == ranges.keys()
        assert all(ranges[key].low <= value <= ranges[key].high for key, value in setting.items())
        assert criteria.load(name, **setting)


@pytest.mark.parametrize(
    ("name", "method", "setting"),
    [
        ("clip_score", "dreambooth_lora", {"patience": 3, "min_improvement": 0.04}),
        ("few_iterations", "textual_inversion", {"steps": 475}),
        ("ema", "textual_inversion", {"window": 310, "threshold": 1e-3}),
    ],
)
def test_the_papers_settings(name, method, setting):
    assert module(name).default_params(method, PAPER[method].dvar.budget) == setting
