"""Tables on narrow terminals, wide ones, in pipes and logs: no key, no number and no word of a setting is cut."""

import dataclasses
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from orchestrator.criteria import DVAR
from orchestrator.recordings.recording import Quality
from orchestrator.recordings.store import RecordingSummary
from orchestrator.replay.outcome import Outcome
from orchestrator.report.console.benchmark_tables import (
    adaptation_table,
    method_table,
    promise_table,
    summary_table,
    transfer_table,
)
from orchestrator.report.console.fitting import FittingTable
from orchestrator.report.console.output import LOG_WIDTH, OutputConsole
from orchestrator.report.console.status import StatusRow, status_table
from orchestrator.report.console.tables import (
    MethodRow,
    StrategyRow,
    comparison_table,
    concepts_table,
    curve_table,
    methods_table,
    recordings_table,
    study_table,
)
from orchestrator.study import Objective, Study
from orchestrator.study.benchmark_rows import Adaptation, BenchmarkRow, BenchmarkSettings, Carried, Seen
from orchestrator.study.benchmarking import Transfer
from orchestrator.study.jackknife import Ratio
from orchestrator.study.splits import Applied
from search_spaces.defaults import MethodDefaults

WIDTHS = (40, 80, 120)
METHODS = ("custom_diffusion", "dreambooth", "dreambooth_lora", "p_plus", "svdiff", "textual_inversion")


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def outcomes(*stops, budget=6100):
    return [Outcome(f"c{i}", 0, stop, True, budget, 10.0 * stop, 0.7123, 0.8) for i, stop in enumerate(stops)]


def comparison(make_recording):
    names = ("full budget", "DVAR, paper's setting", "DVAR, tuned", "DVAR, tuned, live")
    return comparison_table([StrategyRow.of(name, outcomes(5321 + i, 1207)) for i, name in enumerate(names)])


def study(make_recording):
    result = Study(
        [make_recording("a", 6100)], objective=Objective(0.9, kind="mean"), names=["dvar", "hall", "ema"]
    ).search(6)
    return study_table(result)


def recordings(make_recording):
    recording = make_recording("a_concept_with_a_name_that_is_long", 40, seed=2147483647)
    quality = Quality(np.array([0, 40]), {"train_clip_image": np.array([0.25, 0.75])}, np.ones(2))
    identity = recording.identity.with_fields(method={"name": "my_methods:NormTuning"})
    return recordings_table([dataclasses.replace(recording, quality=quality, identity=identity), recording])


def curve(make_recording):
    recording = make_recording("a", 40, every=20)
    scores = {name: np.array([0.125, 0.25, 0.375]) for name in ("train_clip_image", "val_clip_image", "val_clip_text")}
    return curve_table(dataclasses.replace(recording, quality=Quality(np.array([0, 20, 40]), scores, np.ones(3))))


def status(make_recording):
    reason = "loss is NaN at step 1234 in /a/very/long/path/to/some/file/that/no/terminal/takes/in/a/single/line.txt"
    row = RecordingSummary("k", "dog", "textual_inversion", 3, "failed", 1234, 6100, "/x", reason, 9.0, None)
    other = dataclasses.replace(row, reason="used up", concept="cat")
    return status_table(
        [StatusRow.of("full length", row, is_active=False), StatusRow.of("live", other, is_active=True)]
    )


def methods(make_recording):
    recipes = ["paper", "diffusers", "plain"]
    return methods_table([MethodRow("textual_inversion", "a word per layer", MethodDefaults(6100, 310, 0.15), recipes)])


def concepts(make_recording):
    return concepts_table([("grandfather_clock_12", "grandfather clock", "tuning")])


def benchmark_rows():
    applied = Applied(np.array([0.125, 0.25]), np.array([905.0, 977.0]), np.array([61.5, 62.5]), np.array([0.91, 0.93]))
    looks = Adaptation(DVAR(1200, 0.95, relative=True), 0.25, -0.125, 0.5, 1231.2)
    near = Ratio(0.875, 0.75, 0.9375)
    return [
        BenchmarkRow("textual_inversion", "full budget", 6100, applied),
        BenchmarkRow("textual_inversion", "steps per image", 6100, applied, Ratio(1.25, 1.125, 1.375)),
        BenchmarkRow("textual_inversion", "dvar, as in the paper", 6100, applied, near, near, looks),
    ]


def benchmark(make_recording):
    return method_table(benchmark_rows(), BenchmarkSettings())


def benchmark_summary(make_recording):
    return summary_table(benchmark_rows(), BenchmarkSettings())


def adaptation(make_recording):
    return adaptation_table(benchmark_rows())


def promises(make_recording):
    return promise_table([Seen("dvar, as in the paper", 24, 0.2, 0.1875, 0.2125)])


def transfer(make_recording):
    carried = Carried(DVAR(20, 0.3), 0.4375, 0.125)
    transfers = [Transfer(a, b, "dvar", carried) for a in METHODS for b in METHODS]
    return transfer_table(transfers, BenchmarkSettings())


BENCHMARK = (benchmark, benchmark_summary, adaptation, promises, transfer)
TABLES = (comparison, study, recordings, curve, status, methods, concepts, *BENCHMARK)


def words_of(table):
    """Every word of every cell; names may be broken anywhere, so that theirs are left out."""
    for index, column in enumerate(table.columns):
        if index not in table._names:
            yield from (word for cell in column.cells for word in Text(str(cell)).plain.split())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("make", TABLES, ids=lambda make: make.__name__)
def test_every_word_of_every_cell_is_whole(make, width, make_recording):
    table = make(make_recording)
    text = printed(table, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    whole = set(text.split())
    long = [word for word in words_of(table) if len(word) > width - 2]
    missing = [word for word in words_of(table) if word not in whole and word not in long]
    assert not missing
    assert all(word in "".join(text.split()) for word in long)  # folded, but complete
    measured = [column for column in table.columns if any(str(cell) for cell in column.cells)]
    headings = [word for column in measured for word in column.header.plain.split()]
    assert set(headings) <= whole


@pytest.mark.parametrize("width", WIDTHS)
def test_a_name_is_complete_however_it_is_broken(width, make_recording):
    text = printed(recordings(make_recording), width)
    if width == 40:
        assert text.count("a_concept_with_a_name_that_is_long") == 2
    assert re.sub(r"\s", "", text).count("a_concept_with_a_name_that_is_long") == 2 or width == 80


def test_all_methods_transfer_in_a_table_at_80_columns(make_recording):
    text = printed(transfer(make_recording), 80)
    assert text.count("12/44") == 36


def test_of_a_row_below_one_another_only_what_was_measured_is_shown():
    table = FittingTable()
    table.add_headings(["", "key", "quality\nfirst"])
    table.add_headings(["note"], kind="words")
    table.add_texts("best", "0123456789abcdef", "0.5", "")
    table.add_texts("near", "fedcba9876543210", "", "kept too little, so that it is not chosen")
    lines = [line.rstrip() for line in printed(table, 31).splitlines()]
    assert lines == [
        "", "best", "key            0123456789abcdef", "quality first  0.5",
        "", "near", "key            fedcba9876543210", "note", "  kept too little, so that it", "  is not chosen", "",
    ]  # fmt: skip


def test_what_fits_stays_a_table():
    table = FittingTable()
    table.add_headings(["key"])
    table.add_headings(["name"], kind="name")
    table.add_headings(["steps"], right=True)
    table.add_texts("0376e33d", "x" * 30, "12345")
    narrow = [line.split() for line in printed(table, 30).splitlines() if line.strip()]
    assert narrow[0] == ["key", "name", "steps"]
    assert narrow[2][::2] == ["0376e33d", "12345"]
    assert "".join([narrow[2][1], *(line[0] for line in narrow[3:])]) == "x" * 30


@pytest.mark.parametrize(("name", "width"), [("日本語の犬" * 6, 40), ("ä̈" * 30, 40), ("[red]" * 12, 40)])
def test_wide_letters_and_brackets_are_counted_as_the_terminal_does(name, width):
    table = FittingTable()
    table.add_headings(["concept"], kind="name")
    table.add_headings(["steps"], right=True)
    table.add_texts(name, "12345")
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    text = console.file.getvalue()
    assert "12345" in text
    assert name.count(name[0]) == text.count(name[0])


PRINT = """
from orchestrator.recordings.collection import read_place
from orchestrator.report.console.output import OutputConsole
from orchestrator.report.console.tables import recordings_table
OutputConsole().print(recordings_table(read_place("builtin")[:3]))
"""


@pytest.mark.process
@pytest.mark.parametrize("columns", [None, "40", "80"])
def test_in_a_pipe(columns, monkeypatch):
    """Without a terminal lines are long, unless COLUMNS says otherwise; nothing is cut in either case."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    done = subprocess.run([sys.executable, "-c", PRINT], capture_output=True, text=True, check=True)
    assert {"custom_diffusion", "0.401", "0.688", "300", "0376e33d"} <= set(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= int(columns or LOG_WIDTH)
    assert done.stdout.count("quality first") == (3 if columns == "40" else 0)


def test_lines_are_printed_as_they_are_but_for_passwords(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    console = OutputConsole()
    console.file = io.StringIO()
    console.print("in /runs/:dog:/1.0 at sftp://me:s3cret@host/x", soft_wrap=True)
    assert console.file.getvalue() == "in /runs/:dog:/1.0 at sftp://me:***@host/x\n"
