"""Every criterion's space: it satisfies the interface, its settings make criteria, the first setting lies inside."""

import importlib

import optuna
import pytest

from orchestrator import criteria
from search_spaces.base import SearchSpaceModule
from search_spaces.defaults import MethodDefaults
from search_spaces.paper import PAPER
from search_spaces.windows import windows

NAMES = [name for name in criteria.names() if name != "never"]
BUDGETS = [4, 20, 150, 500, 6100]
RANGES = {
    "dvar": {"window": (10, 800), "threshold": (0.01, 0.95)},
    "ema": {"window": (10, 800), "threshold": (1e-6, 1e-1)},
    "hall": {"window": (10, 800), "threshold": (1e-4, 1.0)},
    "trend": {"window": (10, 800), "threshold": (1e-9, 1e-3)},
    "area": {"begin": (10, 200), "threshold": (0.02, 0.6)},
    "cusum": {"window": (10, 800), "threshold": (0.05, 20.0)},
    "divergence": {"window": (10, 800), "threshold": (0.001, 1.0)},
    "level": {"threshold": (0.05, 1.0)},
    "mann_kendall": {"window": (10, 800), "threshold": (0.1, 20.0)},
    "patience": {"window": (10, 800)},
    "proportional": {"begin": (10, 200), "share": (0.05, 0.9), "threshold": (0.01, 0.95)},
    "relative_gain": {"window": (10, 800), "threshold": (0.001, 0.95)},
    "steps_per_image": {"steps": (1, 1000)},
    "few_iterations": {"steps": (1, 1000)},
    "clip_score": {"patience": (1, 10), "min_improvement": (0.0, 0.1)},
}


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
        ("area", "dreambooth_lora", {"begin": 30, "threshold": 0.2}),
        ("patience", "dreambooth_lora", {"window": 100}),
        ("steps_per_image", "textual_inversion", {"steps": 95}),
    ],
)
def test_the_papers_settings(name, method, setting):
    assert module(name).default_params(method, PAPER[method].dvar.budget) == setting


@pytest.mark.parametrize("name", [name for name in NAMES if "window" in RANGES[name]])
def test_a_fixed_stride_leaves_windows_with_enough_evaluations(name):
    stride = {"stride": 9}
    (low, _), fits = RANGES[name]["window"], module(name).space(1000, stride)["window"]
    assert criteria.load(name, **module(name).default_params("mine:Method", 1000) | {"window": fits.low} | stride)
    assert fits.low == max(low, 9 * {"mann_kendall": 3, "dvar": 2, "hall": 2, "trend": 2}.get(name, 1))
    with pytest.raises(ValueError, match="a stride of 801 steps leaves no window to search in 1000 steps"):
        module(name).space(1000, {"stride": 801})


@pytest.mark.parametrize("name", NAMES)
def test_the_ranges_are_those_that_are_documented(name):
    assert {key: (kind.low, kind.high) for key, kind in module(name).space(1000).items()} == RANGES[name]


@pytest.mark.parametrize(
    ("budget", "low", "high"), [(4, 3, 3), (20, 8, 16), (500, 8, 400), (1000, 10, 800), (6100, 61, 4880)]
)
def test_windows_span_1_to_80_percent_of_the_budget_but_at_least_8_steps(budget, low, high):
    window = windows(budget)
    assert (window.low, window.high, window.log) == (low, high, True)
