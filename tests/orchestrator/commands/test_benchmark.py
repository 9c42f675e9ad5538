"""Benchmark: criteria tuned on some concepts and applied to others, against figures by hand."""

import csv
import dataclasses
from statistics import fmean, median

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.criteria import DVAR, FewIterations, Never
from orchestrator.recordings.pack import write_pack
from orchestrator.replay.replay import replay
from orchestrator.study.benchmark import Benchmark, SearchConfig, transfers
from orchestrator.study.replayed import Study
from search_spaces.windows import rescaled
from trainables.errors import InvalidInput

RULE = SearchConfig(trials=20, quality_kept=0.9)


@pytest.fixture
def sides(make_recording):
    def make(budget=200, rates=(10, 14, 18, 40, 12, 30)):
        recordings = [make_recording(f"c{i}", budget, rate=rate, seed=i) for i, rate in enumerate(rates)]
        return recordings[:3], recordings[3:]

    return make


def test_a_tuned_setting_is_the_studys_and_its_figures_are_the_replays(sides):
    tuning, test = sides()
    proved = Benchmark("svdiff", tuning, test, RULE).tuned("dvar")
    study = Study(tuning, names=["dvar"], method="svdiff").search(20)
    assert proved.criterion == study.best.criterion
    outcomes = [replay(proved.criterion, recording) for recording in test]
    assert proved.test.iterations.mean == pytest.approx(fmean(outcome.stop_step for outcome in outcomes))
    assert proved.test.quality_kept.mean == pytest.approx(fmean(outcome.quality_kept for outcome in outcomes))
    assert proved.below == fmean(outcome.quality_kept < 0.9 for outcome in outcomes) > 0
    assert proved.tuning.iterations.mean == study.best.iterations
    assert proved.metrics()["test_seconds"] == pytest.approx(fmean(outcome.seconds for outcome in outcomes))


def test_a_concept_of_several_seeds_counts_once(make_recording, sides):
    tuning, _ = sides()
    test = [make_recording("x", 200, rate=4, seed=i) for i in range(3)] + [make_recording("y", 200, rate=60)]
    benchmark = Benchmark("svdiff", tuning, test, RULE)
    proved = benchmark._prove("", FewIterations(30))
    assert (proved.test.concepts, proved.below) == (2, 0.5)


def test_references(sides):
    tuning, test = sides()
    benchmark = Benchmark("svdiff", tuning, test, RULE)
    full, dvar, clip_s, mean, most = benchmark.references()
    assert full.criterion == Never()
    assert dvar.criterion == DVAR(**Study(tuning, method="svdiff").defaults("dvar").params)
    stops = [replay(clip_s.criterion, recording).stop_step for recording in tuning]
    assert (mean.criterion, most.criterion) == (FewIterations(round(fmean(stops))), FewIterations(max(stops)))


def test_settings_are_carried_in_proportion_to_the_budget(sides):
    benchmarks = [Benchmark("a", *sides(200), RULE), Benchmark("b", *sides(400), RULE)]
    tuned = [benchmark.tuned("dvar").criterion for benchmark in benchmarks]
    carried = {(transfer.source, transfer.target): transfer for transfer in transfers(benchmarks, "dvar")}
    assert carried["a", "a"].criterion == tuned[0]
    there = carried["a", "b"].criterion
    assert (there.window, there.threshold) == (2 * tuned[0].window, tuned[0].threshold)
    assert carried["b", "a"].test.iterations.mean == fmean(
        replay(carried["b", "a"].criterion, recording).stop_step for recording in sides(200)[1]
    )
    assert rescaled({"steps": 30, "patience": 3}, 100, 50) == {"steps": 15, "patience": 3}
    with pytest.raises(KeyError):
        benchmarks[0].carried("ema", benchmarks[1])


def test_cheaper_evaluations_are_measured_against_the_full_one(sides):
    benchmark = Benchmark("svdiff", *sides(), RULE)
    benchmark.tuned("dvar")
    usual, tuned = benchmark.of_dvar()
    options = {(option.l_det_schedule.every, option.inputs_at_once): option for option in benchmark.cheaper(tuned)}
    assert (options[1, 2].cost, options[1, 2].moved) == (1, 0)
    assert options[4, 2].cost == 0.25
    full = [replay(tuned, recording).stop_step for recording in sides()[1]]
    seldom = [replay(dataclasses.replace(tuned, stride=4), recording).stop_step for recording in sides()[1]]
    assert options[4, 2].moved == median(abs(a - b) / b for a, b in zip(seldom, full, strict=True))
    assert all(2 * every <= tuned.window for every, _ in options)
    assert [option.cost for option in benchmark.cheaper(usual)] == sorted(
        option.cost for option in benchmark.cheaper(usual)
    )


def test_a_relative_dvar_is_searched_and_not_carried(sides):
    benchmark = Benchmark("svdiff", *sides(), RULE)
    proved = benchmark.tuned("dvar", {"relative": True})
    assert proved.criterion.relative
    with pytest.raises(KeyError):
        benchmark.of_dvar()


def test_recordings_of_an_earlier_version_are_proved_without_what_they_lack(sides):
    from orchestrator.study.benchmark import run_benchmark

    old = [[dataclasses.replace(recording, facts={}) for recording in side] for side in sides()]
    benchmarks, rows = run_benchmark({"svdiff": old}, ["dvar"], RULE)
    assert [row.criterion.relative for row in rows if row.label == "tuned"] == [False]
    assert {option.inputs_at_once for option in benchmarks[0].cheaper(benchmarks[0].of_dvar()[0])} == {2}


def test_what_is_fixed_stays(sides):
    benchmark = Benchmark("svdiff", *sides(), dataclasses.replace(RULE, fixed={"dvar": {"stride": 4}}))
    assert benchmark.tuned("dvar").criterion.stride == 4


def test_what_proves_nothing_is_refused(sides):
    tuning, test = sides()
    with pytest.raises(InvalidInput, match="svdiff: every concept is a tuning concept"):
        Benchmark("svdiff", tuning, [], RULE)
    with pytest.raises(InvalidInput, match="c1 would both tune and test"):
        Benchmark("svdiff", tuning, [*test, tuning[1]], RULE)
    with pytest.raises(InvalidInput, match=r"different budgets \(100, 200\)"):
        Benchmark("svdiff", tuning, sides(100)[1], RULE)


def of_method(recording, method):
    return dataclasses.replace(recording, identity=recording.identity.with_fields(method={"name": method}))


def test_the_command(sides, tmp_path, monkeypatch):

    monkeypatch.chdir(tmp_path)
    recordings = []
    for method, budget in (("svdiff", 200), ("p_plus", 100)):
        for recording in (of_method(recording, method) for side in sides(budget) for recording in side):
            facts = dict(recording.facts) | {"usual": {"budget": budget, "window": 40, "threshold": 0.2}}
            recordings.append(dataclasses.replace(recording, facts=facts))
    write_pack(recordings, tmp_path / "x.parquet", compact=True)
    command = ["benchmark", "--recordings", "x.parquet", "--trials", "8", "--tuning", "3", "--csv", "out.csv"]
    done = CliRunner().invoke(app, [*command, "--criteria", "dvar,few_iterations"], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    assert "svdiff: 3 concepts tune, 3 test" in done.output
    assert max(len(line) for line in done.output.splitlines() if "DVAR(" in line) <= 80
    assert "tuned on" in done.output
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert len(rows) == 2 * (5 + 3)
    assert {row["setting"] for row in rows} == {"full", "usual", "mean", "most", "tuned"}
    assert all(0 <= float(row["below"]) <= 1 and float(row["test_iterations"]) > 0 for row in rows)
    assert "nothing about Stable Diffusion" not in done.output
    late = CliRunner().invoke(app, [*command[:-1], "/nowhere/x.csv"])
    assert late.exit_code == 2
    assert "/nowhere/x.csv cannot be written" in " ".join(late.output.split())
    wrong = CliRunner().invoke(app, [*command, "--methods", "dreambuth"])
    assert wrong.exit_code == 2
    assert "has no recording of the method 'dreambuth'" in " ".join(wrong.output.split())
