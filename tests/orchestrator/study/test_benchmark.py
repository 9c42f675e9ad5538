"""Benchmark: criteria tuned on some concepts and applied to others, against figures by hand."""

import dataclasses
from statistics import fmean, median

import pytest

from orchestrator.criteria import DVAR, FewIterations, Never
from orchestrator.replay import replay
from orchestrator.study import Benchmark, Objective, SearchConfig, Study, run_benchmark
from orchestrator.study.benchmark import transfers
from search_spaces.windows import rescaled
from trainables.errors import InvalidInput

SEARCH = SearchConfig(Objective(0.9, kind="mean"), trials=20)


@pytest.fixture
def sides(make_recording):
    def make(budget=200, rates=(10, 14, 18, 40, 12, 30)):
        recordings = [make_recording(f"c{i}", budget, rate=rate, seed=i) for i, rate in enumerate(rates)]
        return recordings[:3], recordings[3:]

    return make


def stops(criterion, recordings):
    return [replay(criterion, recording).stop_step for recording in recordings]


def test_a_tuned_setting_is_the_studys_and_its_figures_are_the_replays(sides):
    tuning, test = sides()
    row = Benchmark("svdiff", tuning, test, SEARCH).tune("dvar")
    study = Study(tuning, names=["dvar"], method="svdiff").search(20)
    assert row.criterion == study.best.criterion
    outcomes = [replay(row.criterion, recording) for recording in test]
    assert row.test.iterations.mean == pytest.approx(fmean(outcome.stop_step for outcome in outcomes))
    assert row.test.quality_kept.mean == pytest.approx(fmean(outcome.quality_kept for outcome in outcomes))
    assert row.below == fmean(outcome.quality_kept < 0.9 for outcome in outcomes) > 0
    assert row.tuning.iterations.mean == study.best.iterations
    assert row.metrics()["test_seconds"] == pytest.approx(fmean(outcome.seconds for outcome in outcomes))


def test_a_concept_of_several_seeds_counts_once(make_recording, sides):
    tuning, _ = sides()
    test = [make_recording("x", 200, rate=4, seed=i) for i in range(3)] + [make_recording("y", 200, rate=60)]
    row = Benchmark("svdiff", tuning, test, SEARCH).evaluate("", FewIterations(30))
    assert (row.test.concepts, row.below) == (2, 0.5)


def test_references(sides):
    tuning, test = sides()
    full, dvar, clip_s, mean, most = Benchmark("svdiff", tuning, test, SEARCH).evaluate_references()
    assert full.criterion == Never()
    assert dvar.criterion == DVAR(**Study(tuning, method="svdiff").evaluate_default("dvar").params)
    needed = stops(clip_s.criterion, tuning)
    assert (mean.criterion, most.criterion) == (FewIterations(round(fmean(needed))), FewIterations(max(needed)))


def test_settings_are_transferred_in_proportion_to_the_budget(sides):
    benchmarks = [Benchmark("a", *sides(200), SEARCH), Benchmark("b", *sides(400), SEARCH)]
    tuned = [benchmark.tune("dvar").criterion for benchmark in benchmarks]
    by_methods = {(transfer.source, transfer.target): transfer for transfer in transfers(benchmarks, "dvar")}
    assert by_methods["a", "a"].criterion == tuned[0]
    doubled = by_methods["a", "b"].criterion
    assert (doubled.window, doubled.threshold) == (2 * tuned[0].window, tuned[0].threshold)
    halved = by_methods["b", "a"]
    assert halved.test.iterations.mean == fmean(stops(halved.criterion, sides(200)[1]))
    assert rescaled({"steps": 30, "patience": 3}, 100, 50) == {"steps": 15, "patience": 3}
    assert rescaled({"begin": 30, "share": 0.5}, 1000, 100) == {"begin": 3, "share": 0.5}
    with pytest.raises(KeyError):
        benchmarks[0].transfer_from(benchmarks[1], "ema")


def test_cheaper_evaluations_are_measured_against_the_full_one(sides):
    benchmark = Benchmark("svdiff", *sides(), SEARCH)
    benchmark.tune("dvar")
    usual, tuned = benchmark.default_and_tuned_dvar()
    schedules = benchmark.cheaper_schedules(tuned)
    by_settings = {(schedule.l_det_schedule.every, schedule.inputs): schedule for schedule in schedules}
    assert (by_settings[1, 2].cost, by_settings[1, 2].moved) == (1, 0)
    assert by_settings[4, 2].cost == 0.25
    full, seldom = stops(tuned, sides()[1]), stops(dataclasses.replace(tuned, stride=4), sides()[1])
    assert by_settings[4, 2].moved == median(abs(a - b) / b for a, b in zip(seldom, full, strict=True))
    assert all(2 * every <= tuned.window for every, _ in by_settings)
    costs = [schedule.cost for schedule in benchmark.cheaper_schedules(usual)]
    assert costs == sorted(costs)


def test_a_relative_dvar_is_searched_and_not_transferred(sides):
    benchmark = Benchmark("svdiff", *sides(), SEARCH)
    assert benchmark.tune("dvar", {"relative": True}).criterion.relative
    with pytest.raises(KeyError):
        benchmark.default_and_tuned_dvar()


def test_recordings_of_an_earlier_version_are_used_without_what_they_lack(sides):
    old = [[dataclasses.replace(recording, facts={}) for recording in side] for side in sides()]
    (benchmark,), rows = run_benchmark({"svdiff": old}, ["dvar"], SEARCH)
    assert [row.criterion.relative for row in rows if row.label == "tuned"] == [False]
    usual, _ = benchmark.default_and_tuned_dvar()
    assert {schedule.inputs for schedule in benchmark.cheaper_schedules(usual)} == {2}


def test_what_is_fixed_stays(sides):
    benchmark = Benchmark("svdiff", *sides(), dataclasses.replace(SEARCH, fixed={"dvar": {"stride": 4}}))
    assert benchmark.tune("dvar").criterion.stride == 4


def test_the_values_that_mlflow_gets():
    assert dataclasses.replace(SEARCH, fixed={"dvar": {"stride": 4}}).to_json() == {
        "quality_kept": 0.9,
        "measure": "train_clip_image",
        "cost": "iterations",
        "trials": 20,
        "seed": 0,
        "fixed": {"dvar": {"stride": 4}},
    }


def test_what_would_prove_nothing_is_refused(sides):
    tuning, test = sides()
    with pytest.raises(InvalidInput, match="svdiff: every concept is a tuning concept"):
        Benchmark("svdiff", tuning, [], SEARCH)
    with pytest.raises(InvalidInput, match="c1 would both tune and test"):
        Benchmark("svdiff", tuning, [*test, tuning[1]], SEARCH)
    with pytest.raises(InvalidInput, match=r"different budgets \(100, 200\)"):
        Benchmark("svdiff", tuning, sides(100)[1], SEARCH)
