"""The lines that `dvar tune` prints: every number in them is the one that was measured."""

import re

import pytest

from orchestrator.criteria import DVAR
from orchestrator.replay.outcome import Outcome
from orchestrator.report.console.study import best_lines, robustness_lines
from orchestrator.study.objective import Objective
from orchestrator.study.replayed import Study
from orchestrator.study.result import StudyResult, judge
from orchestrator.study.robustness import Interval, LeftOut, Robustness

MEAN = Objective(kind="mean")


def numbers(line):
    return [float(text) for text in re.findall(r"\d+(?:\.\d+)?", line)]


@pytest.fixture
def robustness():
    cost, kept = Interval(66.0, 61.04, 72.0), Interval(0.912, 0.884, 0.931)
    cases = (LeftOut("a", None, 70.0, 0.90), LeftOut("b", None, 60.0, 0.88))
    return Robustness(cost, kept, MEAN, 0.37, cases, {"window": (18, 22), "threshold": (0.3, 0.3)})


def test_the_interval_the_risk_and_what_was_left_out(robustness):
    near, interval, left_out = robustness_lines(robustness, "steps")
    assert numbers(near) == [5, 18, 22]  # within 5 %; a parameter that does not vary is not shown
    assert numbers(interval) == [61.0, 72.0, 88.4, 93.1, 37, 100, 90]
    assert numbers(left_out) == [65.0, 89.0, 1, 2, 90, 66.0, 91.2]  # 88 % is under the target, 90 % is not
    assert "threshold" not in near


def test_too_few_concepts(robustness):
    single = Robustness(robustness.cost, robustness.quality_kept, MEAN, 0.0, (), {})
    _, *warnings = robustness_lines(single, "steps")
    assert [numbers(line)[-1] for line in warnings] == [90]
    certain = Interval(0.91, 0.91, 0.91)
    (line,) = robustness_lines(Robustness(certain, certain, MEAN, 0.0, (), {}), "steps")
    assert numbers(line) == []
    uncertain = Robustness(robustness.cost, Interval(0.91, 0.7, 0.95), MEAN, 0.4, robustness.left_out, {})
    assert numbers(list(robustness_lines(uncertain, "steps"))[-1]) == [90]


def test_the_best_setting(make_recording):
    result = Study(
        [make_recording("a", 200), make_recording("b", 200, seed=1)], objective=Objective(0.8, kind="mean")
    ).search(10)
    line, regret = best_lines(result)
    assert numbers(regret) == [pytest.approx(result.sampled.cost - result.best.cost, abs=0.06)]
    window, threshold, needs, budget, saved, kept = numbers(line)
    best = result.best
    assert (window, threshold) == (best.params["window"], best.params["threshold"])
    assert (needs, budget) == (pytest.approx(best.iterations, abs=0.06), 200)
    assert saved == pytest.approx(100 * (1 - best.iterations / 200), abs=0.06)
    assert kept == pytest.approx(100 * best.quality_kept, abs=0.06)


def test_that_no_setting_keeps_enough(make_recording):
    fixed = {"dvar": {"threshold": 0.9}}
    result = Study([make_recording("a", 200, rate=60)], objective=Objective(1.0, kind="mean"), fixed=fixed).search(5)
    warning, *_ = best_lines(result)
    assert numbers(warning) == [100]


@pytest.mark.parametrize(("wanted", "shown"), [(0.999, 99.9), (0.9, 90), (0.29, 29)])
def test_the_share_to_keep_is_shown_as_it_was_given(wanted, shown):
    objective = Objective(wanted, kind="mean")
    best = judge(objective, "dvar", {}, DVAR(20, 0.3), [Outcome("a", 0, 60, True, 200, 1.0, 0.2, 0.8)])
    warning, _ = best_lines(StudyResult(objective, 200, 1, best, (), (), (best,)))
    assert numbers(warning) == [shown]


@pytest.mark.parametrize(
    ("stops", "last"), [((200, 200), "never stops: it uses"), ((200, 60), "never stops 1 of these 2")]
)
def test_that_the_best_setting_never_stops(stops, last):
    objective = Objective(0.9, kind="mean")
    outcomes = [Outcome(f"c{i}", 0, stop, stop < 200, 200, 1.0, 0.8, 0.8) for i, stop in enumerate(stops)]
    best = judge(objective, "dvar", {}, DVAR(20, 0.3), outcomes)
    result = StudyResult(objective, 200, 1, best, (), (), (best,))
    *_, line = best_lines(result)
    assert last in line
    assert ("--keep" in line) == (stops == (200, 200))
    assert len(list(best_lines(result))) == 2
