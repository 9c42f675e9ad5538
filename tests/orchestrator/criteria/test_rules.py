"""Every further rule against its definition, written slowly, and on courses whose stop can be computed by hand."""

import math

import numpy as np
import pytest

from orchestrator.criteria import (
    CUSUM,
    DVAR,
    Any,
    Area,
    Divergence,
    FewIterations,
    Level,
    MannKendall,
    NotBefore,
    Patience,
    Proportional,
    RelativeGain,
)

STEPS = np.arange(1, 2001)
LINES = [(slope, offset) for slope in (1e-6, 0.001, 9.0) for offset in (0.0, 1.0, 1e4)]


def line(slope, offset, steps=STEPS):
    """A loss that falls from `offset` above 0 in a straight line."""
    return offset + slope * (len(steps) + 1 - steps)


def exponential(tau, floor=0.5, steps=STEPS):
    """A loss that falls from 1 towards `floor`, by 63 % of the way within tau steps."""
    return floor + (1 - floor) * np.exp(-(steps - 1) / tau)


def first(condition, values):
    """The first count at which a function of the values so far is true."""
    return next((count for count in range(1, len(values) + 1) if condition(values[:count])), None)


# Definitions, as slow as can be: functions of all values so far.
def area(begin, threshold, min_drop=0.02):
    def condition(seen):
        shares = seen / seen[0]
        now = shares[-math.ceil(len(seen) / 3) :].mean()
        return len(seen) >= begin and 1 - now > min_drop and (shares.mean() - now) / (1 - now) < threshold

    return condition


def patience(window, min_delta):
    def condition(seen):
        best, improved = np.inf, 0
        for count, value in enumerate(seen, start=1):
            if value < best - min_delta:
                best, improved = value, count
        return len(seen) - improved >= window

    return condition


def divergence(window, threshold):
    def condition(seen):
        risen = [seen[count - 1] - seen[:count].min() > threshold for count in range(1, len(seen) + 1)]
        return len(seen) >= window and all(risen[-window:])

    return condition


def mann_kendall(window, threshold):
    def condition(seen):
        if len(seen) < window:
            return False
        last = seen[-window:]
        score = sum(np.sign(last[j] - last[i]) for i in range(window) for j in range(i + 1, window))
        z = (score - np.sign(score)) / np.sqrt(window * (window - 1) * (2 * window + 5) / 18)
        return z > -threshold

    return condition


def cusum(window, threshold):
    def condition(seen):
        if len(seen) < window + 2:
            return False
        fall, total = seen[0] - seen[window], 0.0
        for earlier, later in zip(seen[window:-1], seen[window + 1 :], strict=True):
            total = max(0, total + fall / (2 * window) - (earlier - later))
        return fall > 0 and total > threshold * fall

    return condition


def proportional(begin, share, threshold):
    def condition(seen):
        window = len(seen) - math.floor((1 - share) * len(seen))
        return len(seen) >= begin and 2 <= window < len(seen) and np.var(seen[-window:]) < threshold * np.var(seen)

    return condition


def gain(window, threshold):
    def condition(seen):
        if len(seen) < 2 * window:
            return False
        last, before = seen[-window:].mean(), seen[-2 * window : -window].mean()
        return last < seen[0] and before - last < threshold * (seen[0] - last)

    return condition


RULES = [
    (Area, area, [(1, 0.2), (30, 0.39, 0.0), (5, 0.15, 0.1)]),
    (Patience, patience, [(1, 0.0), (7, 0.0), (15, 0.02)]),
    (Divergence, divergence, [(1, 0.05), (4, 0.02)]),
    (MannKendall, mann_kendall, [(3, 0.5), (10, 1.645), (25, 3.0)]),
    (CUSUM, cusum, [(1, 0.5), (10, 0.2), (20, 1.0)]),
    (Proportional, proportional, [(5, 0.5, 0.1), (10, 0.33, 0.05), (1, 0.9, 0.7)]),
    (RelativeGain, gain, [(1, 0.01), (10, 0.1), (20, 0.3)]),
]


SERIES_COUNT = 6


def random_series(seed):
    """A noisy exponential; every second one rises in the end."""
    rng = np.random.default_rng(seed)
    values = exponential(rng.uniform(5, 30), steps=STEPS[:120]) + rng.choice([1e-4, 0.02]) * rng.normal(size=120)
    return np.concatenate([values, values[-1] + 0.003 * STEPS[:60]]) if seed % 2 else values


@pytest.mark.parametrize(
    ("kind", "define", "setting"), [(kind, define, setting) for kind, define, settings in RULES for setting in settings]
)
def test_a_rule_is_its_definition(kind, define, setting):
    condition, stops = define(*setting), set()
    for values in map(random_series, range(SERIES_COUNT)):
        expected = [bool(condition(values[:count])) for count in range(1, len(values) + 1)]
        assert kind(*setting).holds(values).tolist() == expected
        stops.add(expected.index(True) if any(expected) else None)
    assert stops != {None}


@pytest.mark.parametrize(("slope", "offset"), LINES)
@pytest.mark.parametrize(("window", "threshold"), [(310, 0.15), (440, 0.4), (180, 0.15), (20, 0.01), (50, 0.9)])
def test_on_every_line_dvar_stops_at_window_over_root_threshold(slope, offset, window, threshold):
    """Var(last N) / Var(all t) = (N^2 - 1) / (t^2 - 1) on a line, whatever its slope: a fixed number of steps."""
    stop = DVAR(window, threshold).first_stop(line(slope, offset))
    assert stop == math.floor(math.sqrt((window**2 - 1) / threshold + 1)) + 1
    assert 0 <= stop - window / math.sqrt(threshold) <= 1


@pytest.mark.parametrize(("slope", "offset"), LINES)
def test_on_every_line_relative_gain_stops_at_a_number_of_steps_too(slope, offset):
    assert RelativeGain(30, 0.125).first_stop(line(slope, offset)) == 30 / 0.125 + 31 / 2 + 0.5


@pytest.mark.parametrize(("slope", "offset"), LINES)
def test_on_a_line_a_rule_that_scales_with_the_run_stops_at_once_or_never(slope, offset):
    values = line(slope, offset)
    assert Proportional(100, 0.5, 0.26).first_stop(values) == 100
    assert Proportional(100, 0.5, 0.24).first_stop(values) is None
    assert Area(100, 0.41, 0.0).first_stop(values) == 100
    assert Area(100, 0.39, 0.0).first_stop(values) is None
    assert CUSUM(100, 0.01).first_stop(values) is None
    assert MannKendall(50, 5.0).first_stop(values) is None


@pytest.mark.parametrize("criterion", [Level(0.75), Area(10, 0.2), Proportional(20, 0.5, 0.05)], ids=repr)
def test_a_rule_that_adapts_stops_twice_as_late_at_half_the_speed(criterion):
    slow, fast = (criterion.first_stop(exponential(tau)) for tau in (400, 200))
    assert fast > 50
    assert slow / fast == pytest.approx(2, abs=0.1)


def test_dvar_does_not_follow_the_speed_of_what_it_watches():
    """The elasticity of its stop to the speed is far below 1, also on exponentials."""
    slow, fast = (DVAR(200, 0.15).first_stop(exponential(tau)) for tau in (800, 400))
    assert slow / fast < 1.25


def test_exponentials_whose_stop_is_known():
    tau = 100
    # Half of the first fall per evaluation is reached after tau ln 2 steps; C is the integral of what is missing.
    assert CUSUM(1, 0.001).first_stop(exponential(tau)) == pytest.approx(tau * math.log(2), abs=4)
    # A = L - (1 - floor) ..., so that the gain is e^(n / tau) - 1 times what is left.
    n = 50
    left = np.exp(-(STEPS - 1) / tau)
    last = np.array([left[count - n : count].mean() for count in range(n, 2001)])
    expected = first(lambda seen: len(seen) > n and seen[-1 - n] - seen[-1] < 0.1 * (1 - seen[-1]), last) + n - 1
    assert RelativeGain(n, 0.1).first_stop(exponential(tau)) == expected
    # The moving average lags behind by about 9 steps: 0.5 + 0.5 e^(-t / tau) = 0.75 at tau ln 2.
    assert Level(0.75).first_stop(exponential(tau)) == pytest.approx(tau * math.log(2) + 9, abs=2)


@pytest.mark.parametrize("length", [1, 50])
def test_on_a_plateau_from_the_beginning(length):
    values = np.full(length, 0.7)
    silent = [Area(1, 0.2), CUSUM(2, 0.1), Proportional(1, 0.5, 0.5), RelativeGain(2, 0.5), Divergence(1, 0.1)]
    assert [criterion.first_stop(values) for criterion in silent] == [None] * 5
    stops = [Patience(5).first_stop(values), MannKendall(8, 0.1).first_stop(values), Level(0.71).first_stop(values)]
    assert stops == ([6, 8, 1] if length == 50 else [None, None, 1])


def test_after_a_plateau_has_begun():
    """A line that falls by 0.01 for 50 steps, and then stays."""
    values = np.concatenate([1 - 0.01 * np.arange(51), np.full(200, 0.5)])
    assert Patience(20).first_stop(values) == 71
    assert Patience(20, min_delta=0.025).first_stop(values) == 69  # the last improvement is the 49th value
    # A fall of 0.1 over 10 steps: 0.005 is missing per step, more than 0.1 after 21.
    assert CUSUM(10, 1.01).first_stop(values) == 51 + 21
    # n = 10 values with k of them on the plateau: S = -(45 - k (k - 1) / 2); z > -1.645 where S > -19.4.
    assert MannKendall(10, 1.645).first_stop(values) == 50 + 8


def test_an_improvement_by_exactly_min_delta_is_none():
    values = [1.0, 0.75, 0.75, 0.5, 0.5, 0.5, 0.5]
    assert Patience(3, min_delta=0.25).first_stop(values) == 7
    assert Patience(1, min_delta=0.25).holds(np.array(values)).tolist() == [False, True, True, False, True, True, True]
    assert Patience(3).first_stop(values) == 7
    assert Patience(2, min_delta=0.2).first_stop(values) == 6


def test_the_gap_must_stay_wide():
    values = [0.3, 0.1, 0.25, 0.1, 0.21, 0.22, 0.3, 0.1]
    assert Divergence(3, 0.1).first_stop(values) == 7
    assert Divergence(2, 0.1).first_stop(values) == 6
    assert Divergence(4, 0.1).first_stop(values) is None
    assert Divergence(3, 0.1).l_det_schedule.batch == "gap"


def test_area_takes_a_relative_series_as_it_is():
    values = 0.9 * exponential(50)
    assert Area(5, 0.2, relative=True).first_stop(values) < Area(5, 0.2).first_stop(values)
    assert Area(5, 0.2).first_stop(values) == Area(5, 0.2, relative=True).first_stop(values / 0.9)


def test_floor_and_ceiling_are_combinations():
    """The variant of DVAR with both needs no criterion of its own."""
    bounded = Any(NotBefore(DVAR(40, 0.2), 120), FewIterations(150))
    assert DVAR(40, 0.2).first_stop(line(1, 0)) == 90
    assert bounded.first_stop(line(1, 0)) == 120
    assert Any(NotBefore(DVAR(80, 0.2), 120), FewIterations(150)).first_stop(line(1, 0)) == 150
