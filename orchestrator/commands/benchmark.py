"""`dvar benchmark`: tunes criteria on each method's tuning concepts and applies them to the other concepts."""

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from orchestrator.commands.context import open_tracker
from orchestrator.commands.messages import say_caveats
from orchestrator.config.experiment import Experiment
from orchestrator.recordings.collection import BUILTIN, by_method, read_place, split
from orchestrator.report.console.benchmark_tables import benchmark_table, cheaper_table, transfer_table
from orchestrator.report.console.markup import escape
from orchestrator.report.console.output import OutputConsole
from orchestrator.report.console.progress import bars
from orchestrator.study.benchmark import DVAR, Benchmark, BenchmarkRow, SearchConfig, run_benchmark, transfers
from orchestrator.study.objective import Objective
from orchestrator.study.search_space import searchable
from trainables.errors import InvalidInput

#: How far the median stop may move, as a share of its step, when L_det is evaluated more cheaply.
MOVED = 0.02


def benchmark(
    experiment: Experiment, methods: Sequence[str] | None, names: Sequence[str] | None, target: Path | None
) -> None:
    """Tune criteria on each method's tuning concepts, apply them to the others, and print what they cost and keep.

    Args:
        experiment: gives the recordings' place, the objective and the number of settings (all of its study), the
            tuning concepts and the storage.
        methods: names of the methods to use; None uses every recorded method.
        names: of the criteria; None uses every criterion with a search space.
        target: a CSV file to write as well; None writes none.

    Raises:
        InvalidInput: no method or criterion is left, the recordings cannot serve, or the file cannot be written.
    """
    console, settings = OutputConsole(), experiment.study
    place = settings.recordings or BUILTIN
    if target:
        _write([], target)  # report an unwritable path before the search, not after it
    with console.status("reading recordings"):
        recordings = by_method(read_place(place), place, methods)
        sides = {name: split(group, experiment.concepts.tuning, experiment.seed) for name, group in recordings.items()}
    known, problems = searchable()
    chosen = list(dict.fromkeys(known if names is None else names))
    if not sides or not chosen:
        raise InvalidInput("no method or no criterion is named; leave --methods and --criteria out for all")
    objective = Objective.of(settings)
    search = SearchConfig(objective, trials=settings.trials_wanted, seed=settings.seed, fixed=settings.fixed)
    tracker = open_tracker(console, experiment.model_copy(update={"name": "benchmark"}))
    about = {"recordings": place, "methods": list(sides), "criteria": chosen, **search.to_json()}
    with tracker.run("benchmark", about, name=f"benchmark {place}") as parent:
        with bars(console) as progress:
            total = len(chosen) * len(sides)
            task = progress.add_task("searching", total=total, unit="searches", detail="")
            begun = itertools.count()

            def show_progress(method: str, name: str) -> None:
                progress.update(task, completed=next(begun), detail=escape(f"{method}, {name}"))

            benchmarks, rows = run_benchmark(sides, chosen, search, show_progress)
        for row in rows:
            of_row = {"method": row.method, "criterion": repr(row.criterion), "setting": row.label}
            child = parent.child(f"{row.method}: {row.criterion}", of_row, {"dvar.kind": "proof"})
            parent.finish(child, row.metrics())
    _print(console, benchmarks, rows, search, chosen)
    for problem in problems:
        console.print(f"[red]unusable[/] {escape(problem)}", soft_wrap=True)
    console.print()
    say_caveats(console, [recording for group in recordings.values() for recording in group])
    if target:
        _write(rows, target)
        console.print(f"the first tables, with every metric: {escape(str(target))}", soft_wrap=True)
    console.print(escape(tracker.where_runs_are()), soft_wrap=True)


def _print(
    console: Console,
    benchmarks: Sequence[Benchmark],
    rows: Sequence[BenchmarkRow],
    search: SearchConfig,
    names: Sequence[str],
) -> None:
    objective = search.objective
    for benchmark in benchmarks:
        console.print(benchmark_table([row for row in rows if row.method == benchmark.method], objective.quality_kept))
    wanted = f"{100 * objective.quality_kept:.0f} %"
    console.print(
        f"tuned: with {search.trials} settings, for the lowest mean {objective.cost} that keep {wanted} of the best "
        f"{escape(objective.metric)}\nusual: the paper's setting, or the method's own, scaled to the budget\n"
        "mean, most: the steps that the usual CLIP-s needed on the tuning concepts\n"
        "left out: kept by the tuning concepts under the setting chosen without each\n"
        f"seconds: measured, with what the criterion costs; < {wanted}: share of test concepts that keep less\n"
        f"green, if any: the tuned criterion with the fewest steps that keeps {wanted} on the test concepts",
        soft_wrap=True,
    )
    if DVAR not in names:
        return
    console.print(
        f"\nThe cheapest L_det that moves the median stop by less than {100 * MOVED:.0f} %: evaluated every\n"
        "k steps, on m of the fixed inputs in turn, or both (in brackets: share of all losses)"
    )
    console.print(cheaper_table(benchmarks, MOVED))
    if len(benchmarks) > 1:
        console.print("\nDVAR's setting tuned on a row's method, used on a column's: % of budget / % of quality kept")
        console.print(transfer_table(transfers(benchmarks, DVAR), objective.quality_kept))


def _write(rows: Sequence[BenchmarkRow], target: Path) -> None:
    metrics = [row.metrics() for row in rows]
    columns = list(dict.fromkeys(name for of_row in metrics for name in of_row))
    try:
        with target.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["method", "setting", "criterion", *columns])
            for row, of_row in zip(rows, metrics, strict=True):
                values = [of_row.get(name, "") for name in columns]
                writer.writerow([row.method, row.label, repr(row.criterion), *values])
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written: {error}") from error
