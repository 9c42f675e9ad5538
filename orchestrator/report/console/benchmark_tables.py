"""Tables of a benchmark: each method's criteria side by side, and the transfer of settings between methods."""

import dataclasses
from collections.abc import Sequence

from rich.text import Text

from orchestrator.criteria import Criterion
from orchestrator.report.console.fitting import FittingTable
from orchestrator.report.console.markup import escape
from orchestrator.report.console.tables import new_table
from orchestrator.study.benchmark import Benchmark, BenchmarkRow, CheaperSchedule, Transfer


def benchmark_table(rows: Sequence[BenchmarkRow], target: float) -> FittingTable:
    """Return a table of a method's criteria: the cost and quality of each on the tuning and on the test concepts.

    Args:
        rows: of a single method.
        target: share of the best quality that a setting must keep, 0..1.
    """
    first = rows[0]
    of_test = ("test\nsteps", "seconds", "kept %", f"< {100 * target:.0f} %")
    table = new_table(["", "criterion"], ["tuning\nkept %", "left\nout %", *of_test], words=["criterion"])
    table.title = f"{escape(first.method)}: {first.tuning.concepts} concepts tune, {first.test.concepts} test"
    table.title_justify, table.title_style = "left", "bold"
    cheapest = _cheapest(rows, target)
    for row in rows:
        style = "bold green" if row is cheapest else ""
        table.add_texts(row.label, _short(row.criterion), *_cells(row), style=style)
    return table


def _short(criterion: Criterion) -> str:
    """Format a criterion without the names of its required settings; optional settings keep their names."""
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


def _cheapest(rows: Sequence[BenchmarkRow], target: float) -> BenchmarkRow | None:
    """Return the searched criterion with the fewest steps among those that keep enough on the test concepts."""
    kept = [row for row in rows if row.robustness and _percent(row.test.quality_kept) >= 100 * target]
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


def cheaper_table(benchmarks: Sequence[Benchmark], limit: float) -> FittingTable:
    """Return a table of the cheapest evaluations of L_det that hardly move the stop of each method's DVAR.

    DVAR has its default parameters in a method's first row, and the tuned setting in its second.

    Args:
        benchmarks: must have tuned DVAR.
        limit: how far the median stop may move, as a share of its step.
    """
    table = new_table(
        ["method", "criterion"], ["every\nk steps", "m inputs\nin turn", "both\nk, m"], words=["criterion"]
    )
    for benchmark in benchmarks:
        for criterion in benchmark.default_and_tuned_dvar():
            fitting = [option for option in benchmark.cheaper_schedules(criterion) if option.moved < limit]
            seldom = next(option for option in fitting if option.l_det_schedule.inputs is None)
            in_part = next(option for option in fitting if option.l_det_schedule.every == 1)
            cells = (
                f"{seldom.l_det_schedule.every} ({_cost(seldom)})",
                f"{in_part.inputs} ({_cost(in_part)})",
                f"{fitting[0].l_det_schedule.every}, {fitting[0].inputs} ({_cost(fitting[0])})",
            )
            table.add_texts(benchmark.method, _short(criterion), *cells)
    return table


def _cost(option: CheaperSchedule) -> str:
    return f"{100 * option.cost:.{0 if option.cost >= 0.1 else 1}f} %"


def transfer_table(carried: Sequence[Transfer], target: float) -> FittingTable:
    """Return a table of settings tuned on a row's method and used on a column's: % of budget / % of quality kept.

    Args:
        carried: all pairs of methods.
        target: share of the best quality to keep, 0..1; cells that reach it are green.
    """
    targets = list(dict.fromkeys(transfer.target for transfer in carried))
    table = FittingTable(compact=True)
    table.add_headings(["tuned on"])
    table.add_headings([method.replace("_", "\n") for method in targets], right=True)
    for source in dict.fromkeys(transfer.source for transfer in carried):
        cells = {transfer.target: transfer for transfer in carried if transfer.source == source}
        table.add_texts(source, *(_carried_cell(cells[method], target) for method in targets))
    return table


def _carried_cell(transfer: Transfer, target: float) -> Text:
    kept = _percent(transfer.test.quality_kept)
    own = "bold " if transfer.source == transfer.target else ""
    return Text(f"{100 * transfer.test.share.mean:.0f}/{kept:.1f}", own + ("green" if kept >= 100 * target else ""))
