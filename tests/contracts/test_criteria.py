"""Every criterion: vectorised and online agree on every series, and what is not finite is refused."""

import inspect
import pickle

import numpy as np
import pytest

from orchestrator import criteria
from orchestrator.criteria import (
    DVAR,
    EMA,
    All,
    Any,
    ClipScore,
    Criterion,
    FewIterations,
    Hall,
    Never,
    NotBefore,
    Patient,
    Trend,
)
from trainables.settings import LDetSchedule

WINDOW = 12
SETTINGS = {
    "dvar": [
        *({"window": WINDOW, "threshold": threshold} for threshold in (0.01, 0.15, 0.5, 0.99)),
        *({"window": WINDOW, "threshold": 0.3, "stride": stride} for stride in (2, 5)),
    ],
    "never": [{}],
    "few_iterations": [{"steps": steps} for steps in (1, WINDOW, 150)],
    "ema": [{"window": window, "threshold": 10.0**-exponent} for window in (1, WINDOW) for exponent in (1, 3, 6)],
    "hall": [{"window": window, "threshold": threshold} for window in (2, WINDOW) for threshold in (0.5, 1e-2, 1e-8)],
    "trend": [{"window": window, "threshold": 10.0**-exponent} for window in (2, WINDOW) for exponent in (1, 4, 7)],
    "clip_score": [{"patience": 3, "min_improvement": 0.0}, {"patience": 6, "min_improvement": 0.02}],
}
CRITERION = DVAR(WINDOW, 0.3)
COMBINED = [
    Patient(CRITERION, 5),
    Patient(FewIterations(3), 1),
    All(CRITERION, Trend(WINDOW, 1e-3)),
    Any(EMA(3, 1e-3), Hall(2, 1e-6), FewIterations(170)),
    NotBefore(CRITERION, 100),
    NotBefore(Patient(Any(CRITERION, Trend(20, 1e-2)), 3), 30),
]
ALL = [criteria.load(name, **params) for name in criteria.names() for params in SETTINGS[name]] + COMBINED


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
        yield f"tiny {length}", 1e-140 * noise


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
    stops = {name: criterion.first_stop(values) for name, values in SERIES.items()}
    stopped = {name: stop for name, stop in stops.items() if stop is not None}
    assert stopped or criterion == Never()
    for name, stop in stopped.items():
        assert criterion.first_stop(SERIES[name][:stop]) == stop
        assert criterion.first_stop(SERIES[name][: stop - 1]) is None


@pytest.mark.parametrize("criterion", ALL, ids=repr)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [1, 5, 40])
def test_what_is_not_finite_is_refused_with_its_position(criterion, bad, position):
    values = np.linspace(1, 2, 50)
    values[position - 1] = bad
    if criterion.series is None or position % criterion.l_det_schedule.every:
        assert criterion.first_stop(values) == online_stop(criterion, values)  # it does not look there
        return
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


@pytest.mark.parametrize("name", sorted(vars(criteria)["__all__"]))
def test_a_criterion_has_an_example(name):
    public = getattr(criteria, name)
    if inspect.isclass(public) and issubclass(public, Criterion) and not inspect.isabstract(public):
        assert ">>> " in public.__doc__


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: All(), "All needs at least one criterion"),
        (lambda: Any("dvar"), "Any takes criteria, got 'dvar'"),
        (
            lambda: All(CRITERION, ClipScore(3, 0.0)),
            r"watch the same series: DVAR.* watches l_det, ClipScore",
        ),
        (
            lambda: Any(FewIterations(3), ClipScore(3, 0.0)),
            r"Any: FewIterations\(steps=3\) counts steps, and ClipScore",
        ),
        (
            lambda: All(DVAR(40, 0.15, relative=True), CRITERION),
            r"DVAR\(.*relative=True\) and DVAR.* evaluate L_det in ways that do not go together",
        ),
        (lambda: Any(DVAR(40, 0.15, inputs=2), CRITERION), "evaluate L_det in ways that do not go together"),
        (lambda: DVAR(40, 0.15, inputs=0), "inputs must be a whole number of at least 1, got 0"),
        (lambda: DVAR(40, 0.15, relative="yes"), "relative must be true or false, got 'yes'"),
        (lambda: Patient(CRITERION, 0), "times must be a whole number of at least 1, got 0"),
        (lambda: NotBefore(CRITERION, 1.5), "step must be a whole number of at least 1, got 1.5"),
    ],
)
def test_wrong_combinations_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_patience_waits_for_a_strided_criterion_too():
    """What an evaluation decides holds until the next."""
    values = SERIES["decay 1000"]
    strided, every = DVAR(40, 0.15, stride=4), DVAR(40, 0.15)
    assert Patient(strided, 2).first_stop(values) == strided.first_stop(values) + 1
    both = All(DVAR(40, 0.15, stride=4), DVAR(40, 0.15, stride=5)).first_stop(values)
    assert both is not None
    assert abs(both - every.first_stop(values)) <= 10


def test_a_combinator_watches_what_its_criteria_watch():
    assert Patient(CRITERION, 2).series == "l_det"
    assert Any(Never(), ClipScore(3, 0.0)).series == "train_clip_image"
    assert Any(Never(), ClipScore(3, 0.0)).keeps_best
    assert All(FewIterations(3)).series is None
    rotating = DVAR(40, 0.15, stride=2, inputs=2, relative=True)
    assert All(rotating, FewIterations(3)).l_det_schedule == LDetSchedule(2, 2, True)
    assert repr(rotating) == "DVAR(window=40, threshold=0.15, stride=2, inputs=2, relative=True)"
    assert All(CRITERION, FewIterations(3)) == All(CRITERION, FewIterations(3))


@pytest.mark.parametrize("criterion", [DVAR(3, 0.5), Never()], ids=repr)
def test_a_table_is_no_series(criterion):
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        criterion.first_stop(np.ones((2, 3)))
