"""The lines that `dvar tune` prints: every number in them is the one that was measured."""

import dataclasses
import re

import pytest

from orchestrator.criteria import DVAR, FewIterations
from orchestrator.replay.outcome import Outcome
from orchestrator.replay.quality import quality_curve, score_noise
from orchestrator.report.console.study import (
    best_lines,
    noise_lines,
    pays_lines,
    promise,
    robustness_lines,
    verdict_lines,
)
from orchestrator.report.console.tables import StrategyRow
from orchestrator.study.objective import Objective
from orchestrator.study.recommendation import Comparison, recommended
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


@pytest.mark.parametrize(
    ("objective", "concepts", "shown"),
    [
        (Objective(), 8, [25, 90, 1, 8, 8, 11.1]),
        (Objective(0.95, risk=0.1), 24, [10, 95, 1, 24, 24, 4]),
        (Objective(), 2, [33.3, 90, 2, 2, 33.3]),
        (Objective(0.85, kind="mean-lcb"), 8, [8, 85]),
        (MEAN, 8, [8, 90]),
    ],
)
def test_what_is_promised(objective, concepts, shown):
    assert numbers(promise(objective, concepts)) == shown


def trial(name, criterion, stops, kept=0.95):
    outcomes = [Outcome(f"c{i}", 0, stop, True, 400, 1.0, kept, 1.0) for i, stop in enumerate(stops)]
    return judge(MEAN, name, {}, criterion, outcomes)


STOPS = [40, 60, 80, 100, 120, 140, 160, 180]


def verdict(low, *, fixed=120, stops=STOPS, needs=range(8), compared=True):
    """The lines on a rule with these stops beside a fixed number of steps."""
    rule, of_fixed = trial("dvar", DVAR(20, 0.25), stops), trial("few_iterations", FewIterations(fixed), [fixed] * 8)
    comparison = Comparison(rule, of_fixed, low + 0.05, low, low + 0.2, 0.9)
    comparisons = {"dvar": comparison} if compared else {}
    result = StudyResult(
        MEAN, 400, 2, recommended([of_fixed, rule], comparisons), (), (), (of_fixed, rule),
        comparisons=comparisons, needed_steps=tuple(needs),
    )  # fmt: skip
    return list(verdict_lines(result, "steps"))


def test_the_verdict_says_what_was_compared():
    about, last = verdict(0.02)
    assert numbers(about) == [20, 0.25, 110.0, 120.0, 7, 90, 2, 22]
    assert about.endswith("a real saving")
    assert "use DVAR" in last
    about, last = verdict(-0.1)
    assert numbers(about) == [20, 0.25, 110.0, 120.0, 5, 90, 10, 10]  # -5 %, -10 % to 10 %
    assert about.endswith("no more than chance")
    assert numbers(last) == [120]
    about, last = verdict(-0.3)
    assert about.endswith("it costs more")
    assert numbers(last) == [120]


def test_the_verdict_is_what_is_recommended():
    """Really cheaper on concepts left out, but not on these: the file holds the fixed number, and so says the line."""
    *_, last = verdict(0.02, fixed=100)
    assert numbers(last) == [100]


def test_without_a_comparison_it_says_why():
    few, kept = trial("dvar", DVAR(20, 0.25), [100, 120]), trial("dvar", DVAR(20, 0.25), STOPS, 0.5)
    fixed = trial("few_iterations", FewIterations(110), [110] * 8)
    for rule, reason in ((few, "too few"), (kept, "too little is kept")):
        result = StudyResult(MEAN, 400, 2, fixed, (), (), (fixed, rule), needed_steps=(None,) * len(rule.kept))
        assert reason in next(verdict_lines(result, "steps"))


def test_whether_a_rule_adapts():
    """Median, spread and N / sqrt(alpha) of a rule that acts as a fixed number; correlation of one that varies."""
    _, looks, _ = verdict(0.02, stops=[98, 100, 102, 100, 100, 100, 98, 102])
    assert numbers(looks) == [100, 40, 1.41]
    _, looks, _ = verdict(0.02, needs=range(8, 0, -1))
    assert numbers(looks) == [40, 41.7, 1.0]
    assert "-1.00" in looks
    assert len(verdict(0.02)) == 2  # one that follows what is needed: nothing is to be said


def test_whether_a_rule_pays():
    def row(name, seconds, kept):
        return StrategyRow.of(name, [Outcome("a", 0, 50, True, 100, seconds, kept, 1.0)])

    rows = [row("fixed number, tuned", 10.0, 0.9), row("DVAR, tuned", 8.5, 0.92), row("Hall, tuned", 12.25, 0.89)]
    rows += [row("full budget", 99.0, 1.0), row("DVAR, tuned, live", 1.0, 1.0), row("Ema, tuned", None, 1.0)]
    saves, costs = pays_lines(rows, "fixed number, tuned")
    assert (numbers(saves), numbers(costs)) == ([1.5, 2.0], [2.2, 1.0])
    assert ("saves" in saves, "+2.0 points" in saves) == (True, True)
    assert ("costs" in costs, "-1.0 points" in costs) == (True, True)
    assert not list(pays_lines(rows[1:], "fixed number, tuned"))


def with_repeated(recording, *scores):
    return dataclasses.replace(recording, facts=recording.facts | {"repeated_scores": {"train_clip_image": [*scores]}})


def test_the_noise_of_a_score(make_recording):
    first, second = (make_recording(name, 200, seed=i) for i, name in enumerate("ab"))
    best = quality_curve(first, "train_clip_image").best
    (measured,) = noise_lines([with_repeated(first, 0.5, 0.52, 0.54)], "train_clip_image")
    assert numbers(measured) == pytest.approx([100 * 0.02 / best, 1], rel=0.01)
    assert "repeatedly" in measured
    (estimated,) = noise_lines([first, second], "train_clip_image")
    shares = [score_noise(each, "train_clip_image").std / best for each in (first, second)]
    assert numbers(estimated) == pytest.approx([100 * sum(shares) / 2, 2], rel=0.01)
    assert "scatter" in estimated
    (mixed,) = noise_lines([with_repeated(first, 0.5, 0.52, 0.54), second], "train_clip_image")
    assert numbers(mixed)[1:] == [2, 1]
    assert ("repeated" in mixed, "scatter" in mixed) == (True, True)
    assert not list(noise_lines([make_recording("a", 200, every=150)], "train_clip_image"))


def test_a_sampler_that_found_nothing_has_no_regret():
    best, sampled = trial("dvar", DVAR(20, 0.25), STOPS), trial("dvar", DVAR(30, 0.9), STOPS, 0.5)
    result = StudyResult(MEAN, 400, 2, best, (), (), (best, sampled), sampled=sampled)
    *_, line = best_lines(result)
    assert "found no setting that keeps enough" in line
