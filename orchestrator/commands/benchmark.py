"""`dvar benchmark`: chooses every rule on random sets of concepts, and applies it to the others."""

import csv
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from orchestrator.commands.context import open_tracker
from orchestrator.commands.messages import say_caveats
from orchestrator.config.experiment import Experiment
from orchestrator.recordings.collection import BUILTIN, by_method, read_place
from orchestrator.report.console.benchmark_lines import benchmark_lines
from orchestrator.report.console.benchmark_tables import (
    adaptation_table,
    method_table,
    promise_table,
    summary_table,
    transfer_table,
)
from orchestrator.report.console.markup import escape
from orchestrator.report.console.output import OutputConsole
from orchestrator.report.console.progress import bars
from orchestrator.study.benchmark_rows import BenchmarkRow, BenchmarkSettings
from orchestrator.study.benchmarking import BenchmarkResult, rules_of, run_benchmark
from orchestrator.study.objective import Objective
from orchestrator.study.search_space import searchable
from trainables.errors import InvalidInput

#: Tuning concepts of each split unless --tuning says otherwise.
TUNING = 8


def benchmark(
    experiment: Experiment, methods: Sequence[str] | None, names: Sequence[str] | None, target: Path | None
) -> None:
    """Choose every rule on random tuning concepts, apply it to the others, and print what that costs and keeps.

    Args:
        experiment: gives the recordings' place, the objective, the number of tuning concepts and the storage. What is
            saved is always steps; seconds are compared, too.
        methods: names of the methods to use; None uses every recorded method.
        names: of the criteria; None uses every criterion with an ordered family.
        target: a CSV file to write as well; None writes none.

    Raises:
        InvalidInput: no method or criterion is left, a criterion is unknown, the recordings cannot serve, or the file
            cannot be written.
    """
    console, study = OutputConsole(), experiment.study
    settings = BenchmarkSettings(Objective.of(study), _tuning(experiment), seed=study.seed)
    if target:
        _write([], target)  # report an unwritable path before the search, not after it
    place = study.recordings or BUILTIN
    with console.status("reading recordings"):
        recordings = by_method(read_place(place), place, methods)
    chosen, problems = (names, []) if names is not None else searchable()
    rules, left_out = rules_of(chosen, study.fixed, study.l_det, recordings) if chosen else ([], [])
    tracker = open_tracker(console, experiment.model_copy(update={"name": "benchmark"}))
    about = {"recordings": place, "methods": list(recordings), "rules": [rule.label for rule in rules]}
    with tracker.run("benchmark", about | settings.to_json(), name=f"benchmark {place}") as parent:
        with bars(console) as progress:
            task = progress.add_task("replaying", total=len(recordings), unit="methods", detail="")
            result = run_benchmark(
                recordings, rules, settings, lambda method: progress.update(task, advance=1, detail=escape(method))
            )
        for row in result.rows:
            child = parent.child(f"{row.method}: {row.label}", row.params(), {"dvar.kind": "benchmark"})
            parent.finish(child, row.metrics())
    _print(console, result, settings)
    for problem in (*problems, *left_out, *result.problems):
        console.print(f"[yellow]left out[/] {escape(problem)}", soft_wrap=True)
    console.print()
    say_caveats(console, [recording for group in recordings.values() for recording in group])
    if target:
        _write(result.rows, target)
        console.print(f"every metric of every method and rule: {escape(str(target))}", soft_wrap=True)
    console.print(escape(tracker.where_runs_are()), soft_wrap=True)


def _tuning(experiment: Experiment) -> int:
    tuning = experiment.concepts.tuning
    if isinstance(tuning, list):
        raise InvalidInput(
            f"a benchmark draws its tuning concepts at random, many times over; --tuning is their number, got "
            f"{', '.join(tuning)}"
        )
    return TUNING if tuning is None else tuning


def _print(console: Console, result: BenchmarkResult, settings: BenchmarkSettings) -> None:
    for method in dict.fromkeys(row.method for row in result.rows):
        console.print(method_table([row for row in result.rows if row.method == method], settings))
    console.print(summary_table(result.rows, settings))
    for line in benchmark_lines(result, settings):
        console.print(line, soft_wrap=True)
    console.print(promise_table(result.seen))
    console.print(adaptation_table(result.rows))
    if len({transfer.target for transfer in result.transfers}) > 1:
        console.print(transfer_table(result.transfers, settings))


def _write(rows: Sequence[BenchmarkRow], target: Path) -> None:
    metrics = [row.metrics() for row in rows]
    columns = list(dict.fromkeys(name for of_row in metrics for name in of_row))
    try:
        with target.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["method", "rule", "criterion", *columns])
            for row, of_row in zip(rows, metrics, strict=True):
                criterion = repr(row.adaptation.criterion) if row.adaptation else ""
                writer.writerow([row.method, row.label, criterion, *(of_row.get(name, "") for name in columns)])
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written: {error}") from error
