"""DVAR against a slow, independent reference, and its pinned details."""

from fractions import Fraction

import numpy as np
import pytest

from orchestrator.criteria import DVAR, load
from orchestrator.criteria.dvar import first_stops
from trainables.errors import InvalidInput


def reference(values, window, threshold):
    """The paper's figure 3, at every step after the window is full, with population variances."""
    for count in range(window + 1, len(values) + 1):
        seen = np.asarray(values[:count], dtype=np.longdouble)
        if seen[-window:].var() < threshold * seen.var():
            return count
    return None


def exact_variance(values):
    numbers = [Fraction(float(value)) for value in values]
    mean = sum(numbers) / len(numbers)
    return sum((number - mean) ** 2 for number in numbers) / len(numbers)


def test_equals_the_reference_on_random_series():
    rng = np.random.default_rng(1)
    stops = 0
    for _ in range(400):
        length, window = int(rng.integers(2, 120)), int(rng.integers(2, 40))
        threshold = float(rng.uniform(0.02, 0.98))
        kind = rng.integers(3)
        noise = rng.normal(size=length)
        values = (noise, noise.cumsum(), np.exp(-np.arange(length) / 10) + 0.05 * noise)[kind]
        values = values * 10.0 ** rng.integers(-6, 6) + rng.choice([0.0, 1.0, 1e4])
        expected = reference(values, window, threshold)
        stops += expected is not None
        assert DVAR(window, threshold).first_stop(values) == expected
    assert stops > 100


def test_a_grid_of_settings_is_what_each_setting_says():
    rng = np.random.default_rng(3)
    windows, thresholds = [2, 5, 17, 40, 99, 100, 300], [0.01, 0.5, 0.15, 0.15, 0.95]
    stopped = 0
    for length in (1, 2, 3, 50, 101, 250):
        noise = rng.normal(size=length)
        decay, walk = np.exp(-np.arange(length) / 9), noise.cumsum()
        for values in (noise, walk, 1e6 + 1e-3 * walk, np.ones(length), decay):
            stops = first_stops(values, windows, thresholds)
            expected = [[DVAR(w, a).first_stop(values) or 0 for a in thresholds] for w in windows]
            assert stops.tolist() == expected
            stopped += (stops > 0).sum()
    assert stopped > 100


@pytest.mark.parametrize(
    ("windows", "thresholds", "message"),
    [([1], [0.5], "window must be"), ([5, 0], [0.5], "window must be"), ([5], [0.5, 1.0], "threshold must lie")],
)
def test_a_grid_with_impossible_settings(windows, thresholds, message):
    with pytest.raises(ValueError, match=message):
        first_stops(np.ones(9), windows, thresholds)


def test_far_from_zero_the_decision_is_that_of_exact_arithmetic():
    rng = np.random.default_rng(2)
    values = 1e6 + 1e-3 * (np.exp(-np.arange(80) / 10) + 0.05 * rng.normal(size=80))
    stop = DVAR(20, 0.15).first_stop(values)
    for count in range(21, stop + 1):
        fires = exact_variance(values[count - 20 : count]) < Fraction(0.15) * exact_variance(values[:count])
        assert fires == (count == stop)


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_no_stop_before_one_value_more_than_the_window(length):
    values = [5.0, 1.0, 1.0, 1.0, 1.0]
    assert DVAR(4, 0.99).first_stop(values[:length]) is None
    assert DVAR(4, 0.99).first_stop(values) == 5


def test_a_constant_series_never_stops():
    assert DVAR(2, 0.99).first_stop(np.full(1000, 0.1)) is None


def test_the_comparison_is_strict():
    # The last two of these differ by nothing: variance 0 is under any share of a positive one, but 0 < 0 is not.
    assert DVAR(2, 0.5).first_stop([1.0, 1.0, 1.0, 1.0]) is None
    # Window variance 1, total variance 2: at 0.5 they are equal, and just above it stops.
    values = [0.0, 0.0, 4.0, 2.0]
    window, total = np.var(values[-2:]), np.var(values)
    assert DVAR(2, float(window / total)).first_stop(values) is None
    assert DVAR(2, float(np.nextafter(window / total, 1))).first_stop(values) == 4


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.2, float("nan"), float("inf"), "0.5", None])
def test_thresholds_outside_0_to_1_are_refused(threshold):
    with pytest.raises(ValueError, match="threshold must lie strictly between 0 and 1, got"):
        DVAR(10, threshold)


@pytest.mark.parametrize("window", [1, 0, -5, 2.5, True, float("nan"), "10"])
def test_windows_that_are_no_whole_number_of_at_least_2_are_refused(window):
    with pytest.raises(ValueError, match="window must be a whole number of at least 2 values, got"):
        DVAR(window, 0.5)


def test_values_whose_squares_overflow_are_refused_by_both():
    with pytest.raises(ValueError, match="value 2 of the series"):
        DVAR(2, 0.5).first_stop([0.0, 1e200, 0.0])
    online = DVAR(2, 0.5).online()
    online.update(0.0)
    with pytest.raises(ValueError, match="value 2 of the series"):
        online.update(1e200)


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 3e-200, 1e-152])
@pytest.mark.parametrize("first", [0.0, 1.0])
def test_denormal_series_are_refused_by_vectorised_online_and_grid_alike(scale, first):
    """Their squares underflow: a ratio of such variances would be anything."""
    tail = [scale * value for value in (9, 5, 3, 2, 1, 1)]
    values = [0.0, *tail] if first == 0 else [scale, 0.0, *tail]
    position = 2
    for criterion in (DVAR(2, 0.5), DVAR(4, 0.5)):
        with pytest.raises(ValueError, match=f"value {position} of the series is .*less than 1e-150 from the first"):
            criterion.first_stop(values)
        online = criterion.online()
        online.update(values[0])
        with pytest.raises(ValueError, match=f"value {position} of the series is .*less than 1e-150 from the first"):
            online.update(values[1])
    with pytest.raises(ValueError, match=f"value {position} of the series"):
        first_stops(values, [2, 4], [0.5])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scale", [1e-149, 2.0**-490, 1e-120])
def test_the_smallest_series_that_are_taken_are_decided_exactly(scale, seed):
    rng = np.random.default_rng(seed)
    values = scale * (1 + 20 * np.exp(-np.arange(60) / 8) + rng.uniform(size=60))
    values[0] = 0
    decided = DVAR(7, 0.3).first_stop(values)
    exact = [exact_variance(values[count - 7 : count]) / exact_variance(values[:count]) for count in range(8, 61)]
    assert decided == next((count for count, ratio in enumerate(exact, start=8) if ratio < Fraction(0.3)), None)
    online = DVAR(7, 0.3).online()
    assert decided == next((count for count, value in enumerate(values, start=1) if online.update(value)), None)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("dvra", {}, r"unknown criterion 'dvra'; did you mean 'dvar'\?; or write it as 'module:Class'"),
        ("dvar", {"window": 3}, "DVAR needs 'threshold'"),
        ("dvar", {"window": 3, "treshold": 0.1}, "no parameter 'treshold'.*did you mean 'threshold'"),
        ("dvar", {"window": 3, "threshold": 1.2}, "got 1.2"),
        ("never", {"window": 3}, "Never has no parameter 'window'; available: none"),
    ],
)
def test_load_names_what_is_wrong(name, params, message):
    with pytest.raises(InvalidInput, match=message):
        load(name, **params)
