"""Whether a setting adapts: on a line DVAR is a fixed number of steps, and other stops are told from it."""

import math

import numpy as np
import pytest

from orchestrator.criteria import DVAR, FewIterations
from orchestrator.replay.outcome import Outcome
from orchestrator.study.adaptivity import LITTLE_SPREAD, WEAK_CORRELATION, adaptivity
from orchestrator.study.objective import Objective
from orchestrator.study.result import judge


def result_of(stops, criterion=None, seeds=1):
    """Of a setting that stops each concept at a step; with several seeds, on average."""
    outcomes = [
        Outcome(f"c{i}", seed, stop + 10 * seed - 5 * (seeds - 1), True, 1000, 1.0, 0.9, 1.0)
        for i, stop in enumerate(stops)
        for seed in range(seeds)
    ]
    return judge(Objective(kind="mean"), "dvar", {}, criterion or DVAR(20, 0.3), outcomes)


@pytest.mark.parametrize(("window", "threshold"), [(310, 0.15), (440, 0.4), (180, 0.15), (20, 0.9)])
@pytest.mark.parametrize("slope", [-3.0, -1e-4, 0.02])
def test_on_a_straight_line_dvar_stops_at_n_over_the_root_of_alpha_whatever_the_slope(window, threshold, slope):
    criterion = DVAR(window, threshold)
    looks = adaptivity(result_of([100, 100], criterion), [1, 1])
    assert looks.line_stop == pytest.approx(window / math.sqrt(threshold))
    assert criterion.first_stop(5 + slope * np.arange(1000)) == pytest.approx(looks.line_stop, abs=1)


def test_only_of_dvar_is_a_line_known():
    assert adaptivity(result_of([100, 120], FewIterations(100)), [90, 90]).line_stop is None


def test_spread_and_correlation_are_those_computed_by_hand():
    looks = adaptivity(result_of([100, 200, 300, 400, 500, 600], seeds=2), [10, 30, 20, 40, 60, 50])
    assert looks.median_stop == 350
    assert looks.spread == pytest.approx(math.sqrt(17.5 / 6) / 3.5)
    assert looks.correlation == pytest.approx(1 - 6 * 4 / (6 * 35))  # two pairs change places: four squares of one
    assert not looks.acts_as_fixed
    assert looks.follows_needs


@pytest.mark.parametrize(("spread", "is_fixed"), [(0.0, True), (0.09, True), (0.11, False), (0.4, False)])
def test_stops_that_hardly_vary_act_as_a_fixed_number(spread, is_fixed):
    stops = [1000 * (1 - spread), 1000 * (1 + spread)] * 4
    looks = adaptivity(result_of(stops), range(8))
    assert looks.spread == pytest.approx(spread)
    assert looks.acts_as_fixed == is_fixed == (spread < LITTLE_SPREAD)


def test_stops_that_vary_but_not_with_what_is_needed_do_not_follow():
    stops, need = [100, 200, 300, 400, 500, 600, 700, 800], np.arange(8)
    assert adaptivity(result_of(stops), need).correlation == pytest.approx(1)
    against = adaptivity(result_of(stops), need[::-1])
    assert against.correlation == pytest.approx(-1)
    assert not against.follows_needs
    unrelated = adaptivity(result_of(stops), [0, 7, 3, 4, 1, 5, 6, 2])
    assert unrelated.correlation < WEAK_CORRELATION
    assert not unrelated.follows_needs


@pytest.mark.parametrize(
    ("stops", "need"),
    [
        ([100, 200, 300], [3, 2, 1]),  # too few concepts
        ([100, 200, 300, 400, 500, 600], [6, 5, 4, None, None, None]),  # too few that ever keep the target
        ([100] * 8, range(8)),  # stops do not vary
        ([100, 200, 300, 400, 500, 600], [7] * 6),
    ],
)
def test_where_a_correlation_says_nothing_there_is_none(stops, need):
    looks = adaptivity(result_of(stops), need)
    assert looks.correlation is None
    assert looks.follows_needs
