"""EMA, Hall and Trend of appendix E against NumPy's own functions, at every step."""

import numpy as np
import pytest

from orchestrator.criteria import EMA, Hall, Trend

LENGTH = 160


@pytest.fixture(params=range(4))
def values(request):
    rng = np.random.default_rng(request.param)
    falling = np.exp(-np.arange(LENGTH) / 25) + 0.05 * rng.normal(size=LENGTH)
    return falling * 10.0 ** (request.param - 2) + request.param


def after_each(values, window, quantity):
    """The quantity after each value; infinite before there are window + 1 values."""
    later = [quantity(values[: count + 1]) for count in range(window, len(values))]
    return np.array([np.inf] * window + later)


def check(make, window, expected):
    """The condition holds exactly where the quantity is below the threshold, for thresholds all over its range."""
    finite = np.sort(expected[np.isfinite(expected)])
    assert len(finite) > 100
    for rank in (0, 10, 50, 100, len(finite) - 2):
        threshold = (finite[rank] + finite[rank + 1]) / 2
        assert np.array_equal(make(window, threshold), expected < threshold)


@pytest.mark.parametrize("window", [2, 9, 40])
def test_trend_is_the_slope_of_the_least_squares_line(values, window):
    def slope(seen):
        return abs(np.polyfit(np.arange(window), seen[-window:], 1)[0])

    check(lambda n, threshold: Trend(n, threshold).holds(values), window, after_each(values, window, slope))


@pytest.mark.parametrize("window", [2, 9, 40])
def test_hall_is_the_range_over_the_mean(values, window):
    def hall(seen):
        return np.ptp(seen[-window:]) / abs(seen[-window:].mean())

    check(lambda n, threshold: Hall(n, threshold).holds(values), window, after_each(values, window, hall))


@pytest.mark.parametrize("window", [1, 9, 40])
def test_ema_is_the_relative_change_of_the_average(values, window):
    averages = [values[0]]
    for value in values[1:]:
        averages.append(0.1 * value + 0.9 * averages[-1])

    def change(seen):
        now, then = averages[len(seen) - 1], averages[len(seen) - 1 - window]
        return abs((now - then) / then)

    check(lambda n, threshold: EMA(n, threshold).holds(values), window, after_each(values, window, change))
