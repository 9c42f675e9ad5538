"""Tables: what was measured, and only that, within 80 columns."""

import io

import pytest
from rich.console import Console

from orchestrator.replay.outcome import Outcome, Spread
from orchestrator.report.console.tables import StrategyRow, comparison_table, spread, study_table, time_unit
from orchestrator.study import Objective, Study


def text_of(table, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def outcomes(*steps, seconds=1.0, quality=0.8):
    return [Outcome(f"c{i}", 0, k, True, 6100, k * seconds, quality, 1.0) for i, k in enumerate(steps)]


@pytest.mark.parametrize("width", [80, 120])
def test_comparison_shows_means_and_deviations_uncut(width):
    stops = {"full budget": (6100, 6100), "DVAR, paper's setting": (500, 640)}
    rows = [StrategyRow.of(name, outcomes(*pair)) for name, pair in stops.items()]
    text = text_of(comparison_table(rows), width)
    assert "570.0 ± 99.0" in text
    assert "80.0 ± 0.0" in text
    assert "…" not in text
    assert "minutes" in text


def test_one_concept_and_unmeasured_quality_leave_blanks():
    text = text_of(comparison_table([StrategyRow.of("live", outcomes(500, quality=None))]))
    assert "±" not in text
    assert "nan" not in text.lower()
    assert "None" not in text


def test_figures_hold_what_was_measured_alone():
    figures = StrategyRow.of("x", outcomes(500, quality=None)).metrics()
    assert figures == {"iterations": 500, "share": 500 / 6100, "seconds": 500, "concepts": 1}


@pytest.mark.parametrize(("seconds", "unit"), [(0.1, "seconds"), (119, "seconds"), (121, "minutes")])
def test_time_unit(seconds, unit):
    assert time_unit([None, Spread(seconds, None)])[0] == unit


def test_spread():
    assert [spread(None), spread(Spread(1.25, None)), spread(Spread(0.5, 0.25), 100)] == ["", "1.2", "50.0 ± 25.0"]


def test_study_table_marks_what_keeps_too_little(make_recording):
    recordings = [make_recording("a", 200), make_recording("b", 200, seed=1)]
    text = text_of(study_table(Study(recordings, objective=Objective(0.9, kind="mean")).search(20)))
    assert "default" in text
    assert "…" not in text
    none_good = text_of(study_table(Study(recordings, objective=Objective(1.0, kind="mean")).search(5)))
    assert "low" in none_good
