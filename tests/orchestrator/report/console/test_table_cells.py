"""Every column of every table, against values computed by hand."""

import dataclasses

import numpy as np
import pytest
from rich.console import Console

from orchestrator.criteria import DVAR, FewIterations
from orchestrator.recordings.recording import Quality
from orchestrator.recordings.store import RecordingSummary
from orchestrator.replay.outcome import Outcome
from orchestrator.report.console.status import StatusRow, status_table
from orchestrator.report.console.tables import (
    MethodRow,
    StrategyRow,
    comparison_table,
    concepts_table,
    curve_table,
    front_table,
    methods_table,
    recordings_table,
    study_table,
)
from orchestrator.study.objective import Objective
from orchestrator.study.result import StudyResult, judge
from search_spaces.defaults import MethodDefaults


def cells(table):
    """Column heading to its cells, as text."""
    console = Console(width=200)
    columns = {}
    for index, column in enumerate(table.columns):
        texts = [console.render_str(cell).plain if isinstance(cell, str) else cell.plain for cell in column.cells]
        columns[str(column.header) or f"#{index}"] = texts
    return columns


def outcome(concept, stop, kept, *, seed=0, seconds=None, budget=200):
    seconds = stop / 10 if seconds is None else seconds
    return Outcome(concept, seed, stop, stop < budget, budget, seconds, kept * 0.8, 0.8)


def test_comparison():
    """Two seeds of a concept count as one: 60 and 100 steps are 80, which with 120 make 100 ± 28.3."""
    outcomes = [outcome("a", 60, 0.8), outcome("a", 100, 1.0, seed=1), outcome("b", 120, 0.7)]
    assert cells(comparison_table([StrategyRow.of("DVAR", outcomes)])) == {
        "strategy": ["DVAR"],
        "iterations": ["100.0 ± 28.3"],
        "seconds": ["10.0 ± 2.8"],
        "% of budget": ["50.0 ± 14.1"],
        "% of quality": ["80.0 ± 14.1"],
    }
    long = StrategyRow.of("full", [outcome("a", 200, 1.0, seconds=600.0)])
    assert cells(comparison_table([long]))["minutes"] == ["10.0"]


@pytest.fixture
def result():
    """Four settings of two criteria that keep 95, 91, 85 and 99 %."""
    objective = Objective(0.9, kind="mean")

    def trial(name, criterion, stop, kept):
        params = {field.name: getattr(criterion, field.name) for field in dataclasses.fields(criterion)}
        return judge(objective, name, params, criterion, [outcome("a", stop, kept), outcome("b", stop + 10, kept)])

    best, default = trial("dvar", DVAR(20, 0.3), 60, 0.91), trial("dvar", DVAR(30, 0.2), 90, 0.95)
    near, other = trial("dvar", DVAR(18, 0.3), 50, 0.85), trial("few_iterations", FewIterations(120), 115, 0.99)
    tried = (default, best, near, other)
    return StudyResult(objective, 200, 4, best=best, default_results=(default,), neighbours=(near,), tried=tried)


def test_study(result):
    assert cells(study_table(result)) == {
        "\n": ["best", "near", "other", "default"],
        "\nsetting": [
            "DVAR(window=20, threshold=0.3)",
            "DVAR(window=18, threshold=0.3)",
            "FewIterations(steps=120)",
            "DVAR(window=30, threshold=0.2)",
        ],
        "\nsteps": ["65.0", "55.0", "120.0", "95.0"],
        "\nkept %": ["91.0", "85.0", "99.0", "95.0"],
        "under\n90 %": ["0 of 2", "2 of 2", "0 of 2", "0 of 2"],
        "#5": ["", "low", "", ""],
    }


def test_seconds_are_shown_where_they_are_the_cost(result):
    trials = tuple(dataclasses.replace(trial, costs=(trial.summary.seconds.mean,) * 2) for trial in result.tried)
    result = dataclasses.replace(result, objective=Objective(0.9, cost="seconds"), tried=trials, best=trials[1])
    assert cells(study_table(result))["\nseconds"][0] == "6.5"


def test_front(result):
    shown = cells(front_table(result))
    assert (shown["\nsteps"], shown["\nkept %"]) == (
        ["55.0", "65.0", "95.0", "120.0"],
        ["85.0", "91.0", "95.0", "99.0"],
    )


def test_recordings(make_recording):
    """The quality rises and falls: the best is neither the first nor the last, and its own step is shown."""
    recording = make_recording("robot", 40, seed=3)
    quality = Quality(np.array([0, 20, 40]), {"train_clip_image": np.array([0.25, 0.75, 0.5])}, np.ones(3))
    recording = dataclasses.replace(
        recording, quality=quality, identity=recording.identity.with_fields(method={"name": "svdiff"})
    )
    unscored = dataclasses.replace(recording, quality=Quality(np.array([], dtype=int), {}, np.ones(0)))
    assert cells(recordings_table([recording, unscored])) == {
        "\nkey": [recording.key[:8]] * 2,
        "\nconcept": ["robot"] * 2,
        "\nmethod": ["svdiff"] * 2,
        "\nseed": ["3"] * 2,
        "\nbudget": ["40"] * 2,
        "quality\nfirst": ["0.250", ""],
        "\nbest": ["0.750", ""],
        "at\nstep": ["20", ""],
    }


def test_status():
    def summary(state, age, seed=0, reason="the budget is used up"):
        return RecordingSummary("k", "dog", "svdiff", seed, state, 30, 40, "/x", reason, age, None)

    rows = [
        StatusRow.of("full length", summary("complete", 5), is_active=False),
        StatusRow.of("live", summary("running", 7300, seed=2), is_active=True),
        StatusRow.of("live", summary("running", 90), is_active=False),
        StatusRow.waiting("live", {"concept": "cat", "method": "svdiff", "seed": 1, "budget": 40}, "starting"),
    ]
    assert cells(status_table(rows)) == {
        "run": ["full length", "live", "live", "live"],
        "concept": ["dog", "dog, seed 2", "dog", "cat, seed 1"],
        "method": ["svdiff"] * 4,
        "state": ["complete", "running", "interrupted", "starting"],
        "steps": ["30/40", "30/40", "30/40", "0/40"],
        "why": ["the budget is used up", "last written 2 h ago", "last written 90 s ago; the same command goes on", ""],
    }


def test_curve(make_recording):
    recording = make_recording("a", 40, every=20)
    shown = cells(curve_table(recording))
    assert shown["step"] == ["0", "20", "40"]
    assert shown["train_clip_image"] == [f"{value:.3f}" for value in recording.quality.scores["train_clip_image"]]
    assert shown["L_det"] == ["", f"{recording.steps.l_det[19]:.5f}", f"{recording.steps.l_det[39]:.5f}"]
    assert shown["seconds"] == ["", "3.0", "6.0"]


def test_methods_and_concepts():
    row = MethodRow("mine", "norms", MethodDefaults(500, 80, 0.25), ["fast", "slow"])
    assert cells(methods_table([row])) == {
        "method": ["mine"],
        "trains": ["norms"],
        "budget": ["500"],
        "N": ["80"],
        "alpha": ["0.25"],
        "recipes": ["fast, slow"],
    }
    assert cells(concepts_table([("robot_1", "robot", "test")])) == {
        "concept": ["robot_1"],
        "class noun": ["robot"],
        "meant for": ["test"],
    }


@pytest.mark.parametrize("width", [80, 100])
def test_no_key_number_or_heading_is_cut_at_80_columns(width, make_recording):
    """A key is typed in again, so it must be whole; a name that is too long is broken into lines instead."""
    identity = make_recording("a_concept_with_a_name_that_is_long", 6100).identity
    recording = dataclasses.replace(
        make_recording("x", 6100), identity=identity.with_fields(method={"name": "textual_inversion"})
    )
    text = _text(recordings_table([recording]), width)
    assert "…" not in text
    assert recording.key[:8] in text


def _text(table, width):
    console = Console(width=width)
    with console.capture() as shown:
        console.print(table)
    return shown.get()


def test_brackets_in_a_name_are_no_markup(make_recording):
    for name in ("a[red]b", "a[-x]"):
        assert name in _text(recordings_table([make_recording(name, 40)]), 100)
        assert name in _text(concepts_table([(name, "toy", "test")]), 100)
    row = MethodRow("mine[/x]", "norms[/x]", MethodDefaults(500, 80, 0.25), ["fast[/x]"])
    assert _text(methods_table([row]), 100).count("[/x]") == 3
