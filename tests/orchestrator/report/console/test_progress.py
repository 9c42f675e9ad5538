"""Progress: the bar's steps are those that were done, saved or lost."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from orchestrator.criteria import DVAR
from orchestrator.recordings.identity import RunIdentity
from orchestrator.report.console.progress import RunBars, StudyBar, bars
from orchestrator.runs.spec import RunResult, RunSpec
from trainables.training.report import Report


def spec(name):
    return RunSpec(name, None, RunIdentity({"concept": {"name": name}, "budget": 100}))


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=120)


@pytest.fixture
def shown(console):
    with bars(console) as progress:
        listener = RunBars(console, progress, "recording")
        listener.runs_started([spec("a"), spec("b")], 100)
        yield listener, progress.tasks[0]


def test_the_bar_counts_the_steps_of_all_runs(shown):
    listener, task = shown
    assert (task.total, task.completed) == (200, 0)
    listener.run_reported(spec("a"), Report(30, 1, (1.0,) * 30, "running", {"l_det": 0.25}))
    listener.run_reported(spec("b"), Report(10, 1, (1.0,) * 10, "running"))
    assert task.completed == 40
    listener.run_reported(spec("a"), Report(55, 31, (1.0,) * 25, "running", {"l_det": 0.125}))
    assert task.completed == 65
    assert "0.1250" in task.fields["detail"]


def test_a_run_that_stops_early_saves_the_rest(shown, console):
    listener, task = shown
    listener.run_reported(spec("a"), Report(30, 1, (1.0,) * 30, "stopped"))
    assert task.completed == 100
    assert "a at step 30" in console.file.getvalue()
    listener.run_ended(RunResult(spec("b"), "failed", 5, "NaN", True))
    assert task.completed == 200


def test_two_seeds_of_a_concept_are_two_runs(console):
    """Runs are told apart by their keys, not by their names."""
    first, second = (
        RunSpec("a", DVAR(20, alpha), spec("a").identity.with_fields(seed=i)) for i, alpha in enumerate((0.1, 0.2))
    )
    with bars(console) as progress:
        listener = RunBars(console, progress, "personalizing")
        listener.runs_started([first, second], 100)
        listener.run_reported(first, Report(30, 1, (1.0,) * 30, "running"))
        listener.run_reported(second, Report(20, 1, (1.0,) * 20, "running"))
        assert (progress.tasks[0].total, progress.tasks[0].completed) == (200, 50)


def test_a_study_counts_settings_and_shows_the_best_and_what_trains(console):
    best = SimpleNamespace(criterion=DVAR(20, 0.3), iterations=65.4, quality_kept=0.9126)
    shown = "best: DVAR(window=20, threshold=0.3) 65 steps, 91.3 % kept"
    with bars(console) as progress:
        bar, (task,) = StudyBar(progress, 30), progress.tasks
        assert (task.total, task.completed) == (30, 0)
        bar.run_reported(spec("a"), Report(7, 1, (1.0,) * 7, "running"))
        assert task.fields["detail"] == "a: step 7"
        bar.tried(4, best)
        assert (task.completed, task.fields["detail"]) == (4, shown)
        bar.run_reported(spec("b"), Report(9, 8, (1.0,) * 2, "running"))
        assert (task.completed, task.fields["detail"]) == (4, f"b: step 9, {shown}")
        bar.run_ended(RunResult(spec("b"), "stopped", 9, "", True))
        assert task.fields["detail"] == shown


def test_a_log_names_a_concept_as_it_is(console, monkeypatch):
    monkeypatch.setattr("orchestrator.report.console.progress.LINE_SECONDS", -1.0)
    with bars(console) as progress:
        listener = RunBars(console, progress, "recording")
        listener.runs_started([spec("my [red] dog")], 100)
        listener.run_reported(spec("my [red] dog"), Report(3, 1, (1.0,) * 3, "running"))
    assert "recording: 3 of 100 steps; my [red] dog: step 3\n" in console.file.getvalue()
