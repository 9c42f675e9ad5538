"""Every criterion: vectorised and online agree on every series, and what is not finite is refused."""

import pickle

import numpy as np
import pytest

from orchestrator import criteria
from orchestrator.criteria import DVAR, Never

WINDOW = 12
SETTINGS = {
    "dvar": [{"window": WINDOW, "threshold": threshold} for threshold in (0.01, 0.15, 0.5, 0.99)],
    "never": [{}],
}
ALL = [criteria.load(name, **params) for name in criteria.names() for params in SETTINGS[name]]


def all_series():
    rng = np.random.default_rng(0)
    for length in (1, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 2, 200, 1000):
        noise = rng.normal(size=length)
        steps = np.arange(length)
        yield f"noise {length}", noise
        yield f"walk {length}", noise.cumsum()
        yield f"decay {length}", np.exp(-steps / 30) + 0.01 * noise
        yield f"smooth decay {length}", np.exp(-steps / 30)
        yield f"constant {length}", np.full(length, 0.1)
        yield f"step {length}", np.where(steps < length // 3, 3.0, 0.1)
        yield f"huge offset {length}", 1e6 + 1e-3 * noise.cumsum()
        yield f"huge offset decay {length}", 1e6 + 1e-3 * (np.exp(-steps / 30) + 0.01 * noise)
        yield f"outlier first {length}", np.where(steps == 0, 1e6, 1e-3 * noise)
        yield f"tiny {length}", 1e-160 * noise


SERIES = dict(all_series())


def online_stop(criterion, values):
    online = criterion.online()
    for count, value in enumerate(values, start=1):
        if online.update(float(value)):
            return count
    return None


def test_every_criterion_has_settings_here():
    assert set(SETTINGS) == set(criteria.names())


@pytest.mark.parametrize("criterion", ALL, ids=repr)
@pytest.mark.parametrize("name", list(SERIES))
def test_vectorised_and_online_agree(criterion, name):
    assert criterion.first_stop(SERIES[name]) == online_stop(criterion, SERIES[name])


@pytest.mark.parametrize("criterion", ALL, ids=repr)
def test_the_stop_depends_on_the_past_alone(criterion):
    values = SERIES["decay 1000"]
    stop = criterion.first_stop(values)
    if stop is not None:
        assert criterion.first_stop(values[:stop]) == stop
        assert criterion.first_stop(values[: stop - 1]) is None


@pytest.mark.parametrize("criterion", ALL, ids=repr)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [1, 5, 40])
def test_what_is_not_finite_is_refused_with_its_position(criterion, bad, position):
    values = np.linspace(1, 2, 50)
    values[position - 1] = bad
    with pytest.raises(ValueError, match=f"value {position} of the series"):
        criterion.first_stop(values)
    online = criterion.online()
    for value in values[: position - 1]:
        online.update(float(value))
    with pytest.raises(ValueError, match=f"value {position} of the series"):
        online.update(float(bad))


@pytest.mark.parametrize("criterion", ALL, ids=repr)
def test_a_pickled_online_criterion_goes_on(criterion):
    values = SERIES["decay 1000"]
    online = criterion.online()
    for count, value in enumerate(values, start=1):
        if count % 37 == 0:
            online = pickle.loads(pickle.dumps(online))  # noqa: S301 - our own object
        if online.update(float(value)):
            break
    else:
        count = None
    assert count == criterion.first_stop(values)


@pytest.mark.parametrize("criterion", [DVAR(3, 0.5), Never()], ids=repr)
def test_a_table_is_no_series(criterion):
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        criterion.first_stop(np.ones((2, 3)))
