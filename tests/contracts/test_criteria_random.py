"""Whatever the series and the setting: vectorised and online agree, and DVAR is what its definition says."""

import functools
from fractions import Fraction

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orchestrator.criteria import (
    CUSUM,
    DVAR,
    EMA,
    All,
    Any,
    Area,
    ClipScore,
    FewIterations,
    Hall,
    Level,
    MannKendall,
    NotBefore,
    Patience,
    Patient,
    Proportional,
    RelativeGain,
    Trend,
)

WINDOWS, SHARES = st.integers(2, 12), st.floats(0.01, 0.99)
POSITIVE = st.floats(0.01, 2.0)


def falling(seed, length, scale, offset):
    """A series that falls and then wavers, as L_det does."""
    rng = np.random.default_rng(seed)
    falling = np.exp(-np.arange(length) / rng.uniform(1, 20)) + rng.uniform(0, 0.3) * rng.normal(size=length)
    return (offset + scale * falling).tolist()


SIMPLE = st.one_of(
    st.builds(DVAR, WINDOWS, SHARES),
    st.builds(
        lambda window, share, stride: DVAR(window * stride, share, stride=stride), WINDOWS, SHARES, st.integers(1, 4)
    ),
    st.builds(EMA, WINDOWS, POSITIVE),
    st.builds(Hall, WINDOWS, POSITIVE),
    st.builds(Trend, WINDOWS, POSITIVE),
    st.builds(FewIterations, st.integers(1, 40)),
    st.builds(Area, st.integers(1, 30), POSITIVE, st.floats(0, 0.5)),
    st.builds(CUSUM, WINDOWS, POSITIVE),
    st.builds(functools.partial(Level, relative=False, first_timestep=0), POSITIVE),
    st.builds(MannKendall, st.integers(3, 12), POSITIVE),
    st.builds(Patience, WINDOWS, st.floats(0, 0.5)),
    st.builds(Proportional, st.integers(1, 30), SHARES, SHARES),
    st.builds(RelativeGain, WINDOWS, POSITIVE),
)
CRITERIA = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(Patient, inner, st.integers(1, 5)),
        st.builds(NotBefore, inner, st.integers(1, 40)),
        st.lists(inner, min_size=1, max_size=3).map(lambda criteria: All(*criteria)),
        st.lists(inner, min_size=1, max_size=3).map(lambda criteria: Any(*criteria)),
    ),
    max_leaves=4,
)


def not_too_small(value):
    """The value, or 0 where its distance from another might be one whose square has no full precision."""
    return value if abs(value) > 1e-130 else 0.0


#: From smooth to wild, with repeated values, huge offsets and outliers.
VALUES = st.one_of(
    st.builds(falling, st.integers(0, 2**32), st.integers(1, 80), st.sampled_from([1e-3, 1.0, 5.0]), st.just(0.0)),
    st.builds(
        falling,
        st.integers(0, 2**32),
        st.integers(1, 80),
        st.sampled_from([1e-3, 1.0]),
        st.sampled_from([1, 1e6]),
    ),
    st.lists(st.floats(-1e6, 1e6).map(not_too_small), max_size=60),
    st.lists(st.sampled_from([0.0, 1.0, 1.0 + 1e-12, -3.5]), max_size=60),
    st.lists(st.floats(-1e-3, 1e-3).map(lambda value: 1e6 + value), max_size=60),
    st.lists(st.floats(-1e149, 1e149).map(not_too_small), max_size=20),
)


def online_stop(criterion, values):
    online = criterion.online()
    for count, value in enumerate(values, start=1):
        if online.update(value):
            return count
    return None


@settings(max_examples=1000, deadline=None)
@given(CRITERIA, VALUES)
def test_vectorised_and_online_agree(criterion, values):
    with np.errstate(over="ignore"):  # sums of the largest values
        assert criterion.first_stop(values) == online_stop(criterion, values)


@settings(max_examples=100, deadline=None)
@given(st.builds(ClipScore, st.integers(1, 5), st.floats(0, 0.2)), st.lists(st.floats(-1, 1), max_size=40))
def test_clip_s_agrees_too(criterion, values):
    assert criterion.first_stop(values) == online_stop(criterion, values)


def variance(values):
    numbers = [Fraction(value) for value in values]
    mean = sum(numbers) / len(numbers)
    return sum((number - mean) ** 2 for number in numbers) / len(numbers)


@settings(max_examples=200, deadline=None)
@given(WINDOWS, SHARES, st.lists(st.integers(-1000, 1000).map(lambda n: n / 8), min_size=1, max_size=40))
def test_dvar_is_its_definition(window, threshold, values):
    """In exact arithmetic, but for ratios so close to the threshold that rounding decides."""
    expected = None
    for count in range(window + 1, len(values) + 1):
        last, so_far = variance(values[count - window : count]), variance(values[:count])
        assume(so_far == 0 or abs(last / so_far - Fraction(threshold)) > Fraction(1, 10**9))
        if last < Fraction(threshold) * so_far:
            expected = count
            break
    assert DVAR(window, threshold).first_stop(values) == expected
