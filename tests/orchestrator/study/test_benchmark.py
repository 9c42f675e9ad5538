"""Benchmark: rules chosen on random concepts and applied to the others, against figures by hand."""

import dataclasses
import math
from statistics import fmean

import numpy as np
import pytest

from orchestrator.criteria import DVAR, FewIterations
from orchestrator.replay import replay
from orchestrator.replay.quality import quality_curve
from orchestrator.study import Benchmark, BenchmarkSettings, Objective, Rule, run_benchmark
from orchestrator.study.benchmarking import rules_of
from orchestrator.study.splits import Applied, AppliedSets, FamilyTable, Splits, SplitSets, ratio, ratio_of_pairs
from search_spaces.windows import rescaled
from trainables.errors import InvalidInput

SETTINGS = BenchmarkSettings(Objective(0.9, risk=0.25), tuning=4, splits=40)
FIXED, DVAR_RULE = Rule("fixed number", "few_iterations"), Rule("dvar", "dvar")


@pytest.fixture
def concepts(make_recording):
    def make(budget=200, rates=(10, 14, 18, 40, 12, 30, 22, 16, 26, 35), **changes):
        return [make_recording(f"c{i}", budget, rate=rate, seed=i, **changes) for i, rate in enumerate(rates)]

    return make


def reached(recording, share=0.9):
    kept = quality_curve(recording, "train_clip_image").kept_at_every_step
    return int(np.argmax(kept >= share))


def test_the_fixed_number_is_that_of_the_slowest_concepts_that_count(concepts):
    """Of four concepts none may fall under the target at a risk of .25 (f + 1 <= 1.25), so the slowest decides."""
    recordings = concepts()
    row = Benchmark("svdiff", recordings, SETTINGS).row(FIXED)
    needs = np.array([reached(recording) for recording in recordings])
    splits = Splits.draw(np.arange(10), 4, 40, 0)
    expected = needs[splits.tuning].max(axis=1)
    assert row.applied.steps == pytest.approx(expected)
    assert row.applied.below == pytest.approx((needs[splits.others] > expected[:, None]).mean(axis=1))
    assert (row.steps_ratio, row.seconds_ratio, row.adaptation) == (None, None, None)


def test_the_oracle_stops_each_concept_at_its_own_need_and_the_full_budget_nowhere(concepts):
    recordings = concepts()
    benchmark = Benchmark("svdiff", recordings, SETTINGS)
    needs = np.array([reached(recording) for recording in recordings])
    splits = Splits.draw(np.arange(10), 4, 40, 0)
    oracle, full = benchmark.oracle(), benchmark.full()
    assert oracle.applied.steps == pytest.approx(needs[splits.others].mean(axis=1))
    assert oracle.applied.below.max() == 0
    assert set(full.applied.steps) == {200}
    fixed = benchmark.row(FIXED).applied.steps.mean()
    assert oracle.steps_ratio.value == pytest.approx(oracle.applied.steps.mean() / fixed)


def test_a_rule_is_compared_with_the_fixed_number_on_the_same_splits(concepts):
    benchmark = Benchmark("svdiff", concepts(), SETTINGS)
    row, fixed = benchmark.row(DVAR_RULE), benchmark.row(FIXED)
    assert row.steps_ratio.value == pytest.approx(row.applied.steps.mean() / fixed.applied.steps.mean())
    assert row.seconds_ratio.value == pytest.approx(row.applied.seconds.mean() / fixed.applied.seconds.mean())
    assert row.seconds_ratio.value == pytest.approx(1.5 * row.steps_ratio.value)  # L_det takes half of a step
    assert row.steps_ratio.low < row.steps_ratio.value < row.steps_ratio.high
    metrics = row.metrics()
    assert metrics["steps_share"] == pytest.approx(row.applied.steps.mean() / 200)
    assert metrics["below"] == row.applied.below.mean()


def test_a_concept_of_several_seeds_counts_once(make_recording, concepts):
    recordings = [*concepts(), make_recording("c0", 200, rate=60, seed=11)]
    benchmark = Benchmark("svdiff", recordings, SETTINGS)
    assert benchmark.concepts == 10
    table = benchmark.table(FIXED)
    assert table.kept.shape == (200, 10)
    both = [replay(FewIterations(50), recording).quality_kept for recording in recordings if recording.concept == "c0"]
    assert table.kept[150, 0] == pytest.approx(fmean(both))


def test_adaptation_is_that_of_the_setting_chosen_on_all_concepts(concepts):
    recordings = concepts()
    look = Benchmark("svdiff", recordings, SETTINGS).row(DVAR_RULE).adaptation
    stops = [replay(look.criterion, recording).stop_step for recording in recordings]
    assert look.spread == pytest.approx(np.std(stops) / np.mean(stops))
    assert look.line_stop == pytest.approx(look.criterion.window / math.sqrt(look.criterion.threshold))
    assert look.correlation > 0.8  # the recordings' L_det falls as their quality rises
    assert look.elasticity is None or -0.5 < look.elasticity < 1.5


def test_what_is_chosen_is_carried_in_proportion_to_the_budget(concepts):
    methods = {"a": concepts(200), "b": concepts(400)}
    result = run_benchmark(methods, [FIXED, DVAR_RULE], SETTINGS)
    chosen = Benchmark("a", methods["a"], SETTINGS).choice(DVAR_RULE)
    carried = {(each.source, each.target, each.label): each.carried for each in result.transfers}
    doubled = carried["a", "b", "dvar"].criterion
    assert (doubled.window, doubled.threshold) == (2 * chosen["window"], chosen["threshold"])
    outcomes = [replay(doubled, recording) for recording in methods["b"]]
    assert carried["a", "b", "dvar"].steps_share == pytest.approx(fmean(outcome.share for outcome in outcomes))
    assert carried["a", "b", "dvar"].below == fmean(outcome.quality_kept < 0.9 for outcome in outcomes)
    assert rescaled({"steps": 30, "patience": 3}, 100, 50) == {"steps": 15, "patience": 3}
    assert {row.method for row in result.rows} == {"a", "b"}
    assert {each.tuning for each in result.seen} == {8}  # too few concepts for 24


def test_a_rule_that_the_recordings_cannot_answer_for_is_left_out_with_the_reason(concepts):
    rows, problems = Benchmark("svdiff", concepts(), SETTINGS).rows([FIXED, Rule("x", "divergence")])
    assert [row.label for row in rows] == ["full budget", "oracle", "fixed number"]
    assert len(problems) == 1
    assert problems[0].startswith("svdiff, x: recording of 'c0'")


def test_the_rules_of_criteria_take_the_cheap_form_and_dvar_the_papers_as_well(concepts):
    rules, left_out = rules_of(["dvar", "few_iterations", "clip_score", "hall"], {}, None, {"a": concepts()})
    assert left_out == []
    cheap = {"stride": 5, "inputs": 2, "relative": True}
    assert [(rule.label, dict(rule.fixed)) for rule in rules] == [
        ("fixed number", {}),
        ("dvar", cheap),
        ("dvar, as in the paper", {}),
        ("clip_score", {}),
        ("hall", cheap),
    ]
    papers, _ = rules_of(["dvar"], {"dvar": {"stride": 2}}, "paper", {"a": concepts()})
    assert [dict(rule.fixed) for rule in papers] == [{}, {"stride": 2}, {}]


def test_deciding_once_per_method_takes_a_rule_that_is_worth_it_and_no_other(concepts, monkeypatch):
    recordings = concepts(rates=[*range(10, 38)])
    benchmark = Benchmark("svdiff", recordings, dataclasses.replace(SETTINGS, splits=60))
    fixed = benchmark._table_of_fixed
    for factor, expected in ((0.7, 0.7), (0.95, 1.0), (1.3, 1.0)):
        cheaper = dataclasses.replace(fixed, steps=factor * fixed.steps)
        benchmark._tables[DVAR_RULE] = cheaper
        row = benchmark.chosen_per_method(DVAR_RULE)
        assert row.steps_ratio.value == pytest.approx(expected)
        assert row.seconds_ratio.value == pytest.approx(1.0)


def test_what_would_prove_nothing_is_refused(concepts):
    recordings = concepts()
    with pytest.raises(InvalidInput, match="svdiff: 10 concepts are recorded, and 9 of them would tune"):
        Benchmark("svdiff", recordings, dataclasses.replace(SETTINGS, tuning=9))
    with pytest.raises(InvalidInput, match="tune on at least 9 concepts"):
        Benchmark("svdiff", recordings, BenchmarkSettings(Objective(risk=0.1), tuning=8))
    with pytest.raises(InvalidInput, match="different budgets"):
        Benchmark("svdiff", [*recordings, *concepts(100)], SETTINGS)
    with pytest.raises(InvalidInput, match="no method or no criterion is named"):
        run_benchmark({}, [FIXED], SETTINGS)


def applied(steps):
    steps = np.array(steps, dtype=float)
    return Applied(0 * steps, steps, 2 * steps, 1 + 0 * steps)


def test_a_ratio_and_its_interval_are_those_of_the_jackknife():
    rule = AppliedSets(applied([8, 12]), tuple(applied([value]) for value in (9, 10, 11, 10)))
    fixed = AppliedSets(applied([20, 20]), tuple(applied([20]) for _ in range(4)))
    logs = np.log([9 / 20, 10 / 20, 11 / 20, 10 / 20])
    error = math.sqrt(3 / 4 * np.sum((logs - logs.mean()) ** 2))
    value = ratio(rule, fixed, measure="seconds")
    assert value.value == pytest.approx(0.5)
    assert math.log(value.high / value.value) == pytest.approx(2.353363 * error, rel=1e-5)  # t of 3 at 95 %
    assert value.is_below_one
    assert ratio(dataclasses.replace(rule, without=()), dataclasses.replace(fixed, without=())).high == math.inf


def test_a_ratio_of_halves_has_the_bounds_of_nine_in_ten():
    pairs = [(applied([value]), applied([10])) for value in range(1, 12)]
    value = ratio_of_pairs(pairs, "steps")
    assert (value.value, value.low, value.high) == pytest.approx((0.6, 0.15, 1.05))
    unknown = dataclasses.replace(applied([1]), seconds=np.array([np.nan]))
    assert ratio_of_pairs([(unknown, applied([1]))], "seconds") is None


def test_splits_are_disjoint_and_the_same_for_every_rule():
    sets = SplitSets.draw(20, 8, 30, seed=3)
    for splits in (sets.everyone, *sets.without):
        both = np.concatenate([splits.tuning, splits.others], axis=1)
        assert splits.tuning.shape[1] == 8
        assert all(len(set(row)) == len(row) for row in both.tolist())
    assert set(np.unique(sets.everyone.tuning)) == set(range(20))
    missing = [set(range(20)) - set(np.unique(np.concatenate([s.tuning, s.others], axis=1))) for s in sets.without]
    assert set.union(*missing) == set(range(20))
    assert sum(map(len, missing)) == 20
    assert (SplitSets.draw(20, 8, 30, seed=3).everyone.tuning == sets.everyone.tuning).all()


def test_where_no_setting_keeps_enough_the_latest_is_applied():
    kept = np.array([[0.5, 0.5, 0.5], [0.4, 0.4, 0.4]])
    table = FamilyTable("x", (DVAR(9, 0.1), DVAR(9, 0.2)), ({}, {}), np.array([[9.0] * 3, [5.0] * 3]), kept, kept)
    assert table.choose(Objective(0.9), np.array([[0, 1], [1, 2]])).tolist() == [0, 0]


def test_a_dvar_that_cannot_be_compared_does_not_stop_the_rest(concepts):
    rules = [FIXED, Rule("dvar", "dvar", {"batch": "stratified"})]
    result = run_benchmark({"a": concepts()}, rules, SETTINGS)
    assert [row.label for row in result.rows] == ["full budget", "oracle", "fixed number"]
    assert {each.label for each in (*result.transfers, *result.seen)} == {"fixed number"}
    assert len(result.problems) == 1


@pytest.mark.parametrize("tuning", [1, 2])
def test_a_recommendation_needs_three_concepts(concepts, tuning):
    settings = BenchmarkSettings(Objective(0.9), tuning=tuning, splits=20)
    rows, _ = Benchmark("svdiff", concepts(), settings).rows([FIXED, DVAR_RULE])
    assert [row.label for row in rows] == ["full budget", "oracle", "fixed number", "dvar"]


def test_the_oracle_pays_a_step_for_what_is_good_from_the_start(concepts):
    row = Benchmark("svdiff", concepts(), BenchmarkSettings(Objective(0.3), tuning=4, splits=20)).oracle()
    assert row.applied.steps.max() == 1
