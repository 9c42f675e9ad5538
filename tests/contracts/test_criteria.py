"""Every criterion: vectorised and online agree on every series, and what is not finite is refused."""

import dataclasses
import inspect
import pickle

import numpy as np
import pytest

from orchestrator import criteria
from orchestrator.criteria import (
    CUSUM,
    DVAR,
    EMA,
    All,
    Any,
    Area,
    ClipScore,
    Criterion,
    Divergence,
    FewIterations,
    Hall,
    LDetCriterion,
    Level,
    MannKendall,
    Never,
    NotBefore,
    Patience,
    Patient,
    Proportional,
    RelativeGain,
    StepsPerImage,
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
    "area": [
        {"begin": 1, "threshold": 0.2},
        {"begin": 23, "threshold": 0.39, "min_drop": 0.0},
        {"begin": WINDOW, "threshold": 1.5, "min_drop": 0.3, "relative": True},
    ],
    "cusum": [{"window": window, "threshold": threshold} for window in (1, WINDOW) for threshold in (0.1, 1.0, 5.0)],
    "divergence": [{"window": window, "threshold": 10.0**-exponent} for window in (1, WINDOW) for exponent in (0, 2)],
    "level": [{"threshold": 0.68}, {"threshold": 0.05, "relative": False, "first_timestep": 0}],
    "mann_kendall": [{"window": window, "threshold": z} for window in (3, WINDOW, 40) for z in (0.5, 1.645, 4.0)],
    "patience": [
        {"window": 1},
        {"window": WINDOW, "min_delta": 0.01, "batch": "held_out"},
        {"window": WINDOW, "inputs": 2},
    ],
    "proportional": [
        *({"begin": 5, "share": 0.5, "threshold": threshold} for threshold in (0.02, 0.2, 0.9)),
        {"begin": 1, "share": 0.999, "threshold": 0.99},
        {"begin": WINDOW, "share": 0.01, "threshold": 0.5},
    ],
    "relative_gain": [{"window": window, "threshold": share} for window in (1, WINDOW) for share in (0.02, 0.2, 1.0)],
    "steps_per_image": [{"steps": 7}, {"steps": WINDOW, "images": 5}],
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
    Any(Patience(20, stride=5), RelativeGain(20, 0.1, stride=4), StepsPerImage(40, images=4)),
    NotBefore(Area(5, 0.2), 30),
]
#: The settings of a criterion that watches L_det at a stride of 5 steps, too.
STRIDED = {
    name: [params | {"window": 2 * WINDOW, "stride": 5} if "window" in params else params | {"stride": 5}]
    for name, (params, *_) in SETTINGS.items()
    if criteria.load(name, **params).needs_l_det
}
ALL = [
    criteria.load(name, **params) for name in SETTINGS for params in (*SETTINGS[name], *STRIDED.get(name, ()))
] + COMBINED


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
def test_both_forms_agree_after_every_value(criterion):
    """Also after the first stop, as combinators wait for conditions that hold once more."""
    for name in ("walk 200", "decay 200", "huge offset decay 200", "outlier first 200", "step 200"):
        condition = criterion.condition()
        online = [condition.update(float(value)) for value in SERIES[name]]
        assert criterion.holds(SERIES[name]).tolist() == online


@pytest.mark.parametrize("criterion", [each for each in ALL if each.l_det_schedule.every > 1], ids=repr)
def test_what_lies_between_two_evaluations_is_not_looked_at(criterion):
    values, every = SERIES["decay 1000"], criterion.l_det_schedule.every
    evaluated = np.full(len(values), np.nan)
    evaluated[every - 1 :: every] = values[every - 1 :: every]
    assert criterion.first_stop(evaluated) == criterion.first_stop(values) == online_stop(criterion, evaluated)


AT_EVERY_STEP = [each for each in ALL if isinstance(each, LDetCriterion) and each.stride == 1]


@pytest.mark.parametrize("every", [each for each in AT_EVERY_STEP if not isinstance(each, EMA | Level)], ids=repr)
def test_settings_count_steps_at_every_stride(every):
    """EMA and Level have averages that forget as fast in steps, which a test below is about."""
    stride, values = 3, SERIES["decay 200"]
    longer = {name: stride * getattr(every, name) for name in ("window", "begin") if hasattr(every, name)}
    if isinstance(every, Trend):
        longer["threshold"] = every.threshold / stride  # of a slope per step
    strided = dataclasses.replace(every, stride=stride, **longer)
    held = strided.holds(np.repeat(values, stride))
    assert not held[: stride - 1].any()
    assert held[stride - 1 :: stride].tolist() == every.holds(values).tolist()


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
        (lambda: Any(DVAR(40, 0.15, batch="held_out"), CRITERION), "in ways that do not go together"),
        (lambda: Any(DVAR(40, 0.15, first_timestep=250), CRITERION), "in ways that do not go together"),
        (lambda: DVAR(40, 0.15, batch="heldout"), "unknown batch 'heldout'; did you mean 'held_out'"),
        (lambda: DVAR(40, 0.15, batch=3), "batch must be the name of a batch, got 3"),
        (lambda: DVAR(40, 0.15, first_timestep=-1), "first_timestep must be a whole number of at least 0, got -1"),
        (lambda: DVAR(40, 0.15, stride=27), "window must hold at least 2 evaluations, got 40 steps at a stride of 27"),
        (lambda: EMA(2, 0.1, stride=5), "window must hold at least 1 evaluation, got 2 steps at a stride of 5"),
        (lambda: Patience(0), "window must be a whole number of at least 1 values, got 0"),
        (lambda: Patience(3, -0.1), "min_delta must be a number of at least 0, got -0.1"),
        (lambda: Divergence(3, 0.1, batch="held_out"), "batch must be 'gap'.*got 'held_out'"),
        (lambda: MannKendall(2, 1.0), "window must be a whole number of at least 3 values, got 2"),
        (lambda: Proportional(3, 1.0, 0.5), "share must lie strictly between 0 and 1, got 1.0"),
        (lambda: Area(0, 0.2), "begin must be a whole number of at least 1, got 0"),
        (lambda: CUSUM(3, 0), "threshold must be a number above 0, got 0"),
        (lambda: StepsPerImage(3, images=0), "images must be a whole number of at least 1, got 0"),
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


@pytest.mark.parametrize("name", STRIDED)
def test_a_label_shows_what_is_not_usual_in_one_order(name):
    (params,) = STRIDED[name]
    schedule = {"stride": 5, "inputs": 3, "relative": True, "batch": "gap", "first_timestep": 100}
    criterion = criteria.load(name, **params | schedule)
    usual = {"divergence": {"batch", "relative"}, "level": {"relative"}}.get(name, set())
    shown = params | {key: value for key, value in schedule.items() if key not in usual}
    assert repr(criterion) == f"{type(criterion).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"
    assert criterion.l_det_schedule == LDetSchedule(5, 3, True, "gap", 100)
    assert eval(repr(criterion), vars(criteria)) == criterion


def test_what_was_best_up_to_the_stop():
    values = [9.0, 5.0, 3.0, 4.0, 3.0, 1.0]
    assert [Patience(2).best_step(values, stop) for stop in (1, 2, 5, 6)] == [1, 2, 3, 6]
    assert [ClipScore(2, 0.0).best_step(values[::-1], stop) for stop in (1, 4, 6)] == [1, 3, 6]
    assert [Patience(2, stride=2).best_step([np.nan, 5.0, 1.0, 4.0, np.nan, 6.0], stop) for stop in (1, 3, 6)] == [
        1,
        2,
        4,
    ]
    assert Any(Patience(2), Never()).best_step(values, 5) == 3
    assert Never().best_step([np.nan] * 3, 2) == 2
    for stop in (0, 7):
        with pytest.raises(ValueError, match=f"stop must be one of the 6 values, counted from 1, got {stop}"):
            Patience(2).best_step(values, stop)


def test_only_patience_keeps_the_best_snapshot():
    assert {type(criterion) for criterion in ALL if criterion.keeps_best} == {Patience, ClipScore, Any}


def test_the_number_of_images_reaches_every_criterion_inside():
    per_image, five = StepsPerImage(10), StepsPerImage(10, images=5)
    assert CRITERION.for_images(5) is CRITERION
    assert Any(Patient(per_image, 2), CRITERION).for_images(5) == Any(Patient(five, 2), CRITERION)
    assert NotBefore(All(per_image), 3).for_images(5) == NotBefore(All(five), 3)


@pytest.mark.parametrize("criterion", [Level(0.52), EMA(40, 0.05)], ids=repr)
def test_an_average_forgets_as_fast_at_every_stride(criterion):
    values = np.where(np.arange(400) < 100, 1.0, 0.5)
    stops = [
        NotBefore(dataclasses.replace(criterion, stride=stride), 115).first_stop(values) for stride in (1, 2, 5, 10)
    ]
    assert max(stops) - min(stops) < 10
    assert 120 < stops[0] < 200


@pytest.mark.parametrize("criterion", [DVAR(3, 0.5), Never()], ids=repr)
def test_a_table_is_no_series(criterion):
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        criterion.first_stop(np.ones((2, 3)))
