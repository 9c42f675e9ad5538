"""Every criterion's family: settings of a single parameter, from the latest stop to the earliest."""

import importlib
import math

import numpy as np
import pytest

from orchestrator import criteria
from orchestrator.recordings.collection import by_method, read_place
from search_spaces.base import FamilyModule
from search_spaces.families import geometric, members, step_counts

NAMES = [name for name in criteria.names() if name != "never"]
BUDGETS = [4, 5, 7, 10, 20, 401, 12_345]
#: The parameter in which the members differ, its value in the latest and in the earliest member, and the rest.
FAMILIES = {
    "area": ("threshold", 0.02, 0.6, {"begin": 30}),
    "clip_score": ("patience", 10, 1, {"min_improvement": 0.02}),
    "cusum": ("threshold", 20.0, 0.05, {"window": 30}),
    "divergence": ("threshold", 1.0, 0.001, {"window": 50}),
    "dvar": ("threshold", 0.002, 0.95, {"window": 200}),
    "ema": ("threshold", 1e-6, 0.1, {"window": 200}),
    "few_iterations": ("steps", 1000, 2, {}),
    "hall": ("threshold", 1e-4, 1.0, {"window": 200}),
    "level": ("threshold", 0.05, 1.0, {}),
    "mann_kendall": ("threshold", 0.1, 20.0, {"window": 200}),
    "patience": ("window", 800, 10, {}),
    "proportional": ("threshold", 0.002, 0.95, {"begin": 30, "share": 0.5}),
    "relative_gain": ("threshold", 0.001, 0.95, {"window": 200}),
    "steps_per_image": ("steps", 1000, 2, {}),
    "trend": ("threshold", 1e-9, 1e-3, {"window": 200}),
}


def module(name):
    return importlib.import_module(f"search_spaces.{name}")


def test_every_criterion_with_a_space_has_a_family():
    assert set(FAMILIES) == set(NAMES)
    assert all(isinstance(module(name), FamilyModule) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_members_are_those_that_are_documented(name):
    varied, latest, earliest, rest = FAMILIES[name]
    family = module(name).family(1000)
    assert (family[0], family[-1]) == ({**rest, varied: latest}, {**rest, varied: earliest})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("budget", BUDGETS)
def test_members_differ_in_a_single_parameter_and_make_criteria(name, budget):
    varied, latest, earliest, rest = FAMILIES[name]
    family = module(name).family(budget)
    values = [member[varied] for member in family]
    assert values == sorted(set(values), reverse=latest > earliest)
    assert {tuple(member[key] for key in rest) for member in family} == {tuple(family[0][key] for key in rest)}
    assert 1 <= len(family) <= 400
    assert all(criteria.load(name, **member) for member in (*family[::7], family[-1]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("budget", BUDGETS)
def test_members_lie_in_the_ranges_and_have_four_digits(name, budget):
    space, (varied, *_) = module(name).space(budget), FAMILIES[name]
    for member in module(name).family(budget):
        for key, value in member.items():
            wider = name in ("dvar", "proportional") and key == varied  # later than what is searched
            assert (0 if wider else space[key].low) <= value <= space[key].high
            assert value == float(f"{value:.4g}") or value == budget or key == "window" == varied


@pytest.mark.parametrize("name", NAMES)
def test_what_is_fixed_stays(name):
    varied, *_, rest = FAMILIES[name]
    for key, value in rest.items():
        family = module(name).family(1000, {key: value})
        assert all(key not in member for member in family)
        assert all(criteria.load(name, **member, **{key: value}) for member in family)
        assert [{**rest, **member} for member in family] == module(name).family(1000)
    with pytest.raises(ValueError, match=f"{varied} is fixed at 7, but the settings must differ in it; leave it free"):
        module(name).family(1000, {varied: 7})


@pytest.mark.parametrize(
    "name", [name for name in NAMES if criteria.load(name, **module(name).family(9)[0]).needs_l_det]
)
@pytest.mark.parametrize("budget", [20, 100])
def test_a_fixed_stride_leaves_windows_with_enough_evaluations(name, budget):
    fixed = {"stride": 5, "inputs": 2}
    for member in module(name).family(budget, fixed):
        assert criteria.load(name, **member, **fixed).stride == 5


@pytest.mark.parametrize("name", [name for name in NAMES if name != "clip_score"])
def test_too_small_a_budget(name):
    with pytest.raises(ValueError, match="budget of 3 steps is too small to search in; use at least 4"):
        module(name).family(3)


@pytest.fixture(scope="module")
def recordings():
    by_name = by_method(read_place("builtin"), "builtin", ["textual_inversion", "dreambooth_lora", "svdiff"])
    return [recording for group in by_name.values() for recording in group[::25]]


def watched(name, recording):
    """A series for a criterion: its L_det relative to its beginning; for a gap, what it has fallen."""
    if name == "clip_score":
        return recording.quality.scores["train_clip_image"]
    shares = recording.steps.l_det / recording.steps.l_det[0]
    return 1 - shares if name == "divergence" else shares


@pytest.mark.parametrize("name", NAMES)
def test_on_recordings_a_later_member_never_stops_earlier(name, recordings):
    different = 0
    for recording in recordings:
        family = [criteria.load(name, **member) for member in module(name).family(recording.budget)[::3]]
        values = watched(name, recording)
        stops = [criterion.first_stop(values) or math.inf for criterion in family]
        assert stops == sorted(stops, reverse=True)
        different = max(different, len(set(stops)))
    assert len(recordings) > 5
    assert different > 3


def test_numbers_of_steps():
    assert step_counts(400) == list(range(400, 0, -1))
    assert len(step_counts(6100)) == 400
    assert step_counts(12_345)[:2] == [12_345, 12_310]
    gaps = -np.diff(step_counts(6100))
    assert set(gaps) == {15, 16}


def test_equal_ratios():
    assert geometric(1e-3, 1.0, 4) == [1e-3, 1e-2, 1e-1, 1.0]
    assert len(geometric(0.002, 0.95)) == 100
    assert geometric(2, 2) == [2]
    assert members("a", [2, 1], {"b": 3}, b=4, c=5) == [{"c": 5, "a": 2}, {"c": 5, "a": 1}]
