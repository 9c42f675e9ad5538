"""Tables of a benchmark: each method's criteria side by side, and settings carried from method to method."""

import dataclasses
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from orchestrator.criteria import Criterion
from orchestrator.study.benchmark import Benchmark, BenchmarkRow, CheaperSchedule, Transfer


def benchmark_table(rows: Sequence[BenchmarkRow], wanted: float) -> Table:
    """Return one method's criteria: what each cost and kept on the concepts that tuned it, and on the others.

    Args:
        rows: of one method.
        wanted: share of the best quality that a setting was to keep.
    """
    first = rows[0]
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title = f"{first.method}: {first.tuning.concepts} concepts tune, {first.test.concepts} test"
    table.title_justify, table.title_style = "left", "bold"
    table.add_column("\n", no_wrap=True)
    table.add_column("\ncriterion", no_wrap=True)
    of_test = ("test\nsteps", "\nseconds", "\nkept %", f"\n< {100 * wanted:.0f} %")
    for heading in ("tuning\nkept %", "left\nout %", *of_test):
        table.add_column(heading, justify="right", no_wrap=True)
    cheapest = _cheapest(rows, wanted)
    for row in rows:
        table.add_row(
            row.label, Text(_short(row.criterion)), *_cells(row), style="bold green" if row is cheapest else ""
        )
    return table


def _short(criterion: Criterion) -> str:
    """Write a criterion without the names of the settings that it must be given: the others say what they are."""
    if not dataclasses.is_dataclass(criterion):
        return repr(criterion)
    shown = []
    for field in dataclasses.fields(criterion):
        value = getattr(criterion, field.name)
        if field.default is dataclasses.MISSING:
            shown.append(f"{value}")
        elif value != field.default:
            shown.append(field.name if value is True else f"{field.name} {value}")
    return f"{type(criterion).__name__}({', '.join(shown)})"


def _cheapest(rows: Sequence[BenchmarkRow], wanted: float) -> BenchmarkRow | None:
    """Return the searched criterion that needs the fewest steps of those that keep enough on the test concepts."""
    kept = [row for row in rows if row.robustness and _percent(row.test.quality_kept) >= 100 * wanted]
    return min(kept, key=lambda row: row.test.iterations.mean, default=None)


def _percent(spread: object) -> float:
    return 100 * getattr(spread, "mean", float("nan"))


def _cells(row: BenchmarkRow) -> list[str]:
    left_out = f"{100 * row.robustness.left_out_quality:.1f}" if row.robustness and row.robustness.left_out else ""
    seconds = f"{row.test.seconds.mean:.1f}" if row.test.seconds else ""
    return [
        f"{_percent(row.tuning.quality_kept):.1f}",
        left_out,
        f"{row.test.iterations.mean:.1f}",
        seconds,
        f"{_percent(row.test.quality_kept):.1f}",
        f"{100 * row.below:.0f} %",
    ]


def cheaper_table(benchmarks: Sequence[Benchmark], limit: float) -> Table:
    """Return the cheapest evaluations of L_det that hardly move the stop of each method's usual and tuned DVAR.

    Args:
        benchmarks: that have tuned DVAR.
        limit: by how much the median stop may move, as a share of its step.
    """
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("\nmethod", "\ncriterion"):
        table.add_column(heading, no_wrap=True)
    for heading in ("every\nk steps", "m inputs\nin turn", "both\nk, m"):
        table.add_column(heading, justify="right", no_wrap=True)
    for benchmark in benchmarks:
        for criterion in benchmark.usual_and_tuned_dvar():
            fitting = [one for one in benchmark.cheaper_schedules(criterion) if one.moved < limit]
            seldom = next(one for one in fitting if one.l_det_schedule.inputs is None)
            in_part = next(one for one in fitting if one.l_det_schedule.every == 1)
            cells = (
                f"{seldom.l_det_schedule.every} ({_cost(seldom)})",
                f"{in_part.inputs} ({_cost(in_part)})",
                f"{fitting[0].l_det_schedule.every}, {fitting[0].inputs} ({_cost(fitting[0])})",
            )
            table.add_row(benchmark.method, _short(criterion), *cells)
    return table


def _cost(one: CheaperSchedule) -> str:
    return f"{100 * one.cost:.{0 if one.cost >= 0.1 else 1}f} %"


def transfer_table(carried: Sequence[Transfer], wanted: float) -> Table:
    """Return settings tuned on the method of a row and used on that of a column: budget used, quality kept."""
    targets = list(dict.fromkeys(one.target for one in carried))
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=0, collapse_padding=True, show_edge=False)
    table.add_column("tuned on", no_wrap=True)
    for target in targets:
        table.add_column(target.replace("_", "\n"), justify="right")
    for source in dict.fromkeys(one.source for one in carried):
        cells = {one.target: one for one in carried if one.source == source}
        table.add_row(source, *(_carried_cell(cells[target], wanted) for target in targets))
    return table


def _carried_cell(one: Transfer, wanted: float) -> Text:
    kept = _percent(one.test.quality_kept)
    own = "bold " if one.source == one.target else ""
    return Text(f"{100 * one.test.share.mean:.0f}/{kept:.1f}", own + ("green" if kept >= 100 * wanted else ""))
