"""Tables of a benchmark: rules on each method and over all, promises and what was seen, adaptation and transfer."""

from collections.abc import Iterable, Sequence
from statistics import fmean

import numpy as np
from rich.text import Text

from orchestrator.report.console.fitting import FittingTable
from orchestrator.report.console.markup import escape
from orchestrator.report.console.tables import new_table
from orchestrator.study.benchmark import CHOSEN, RECOMMENDED
from orchestrator.study.benchmark_rows import BenchmarkRow, BenchmarkSettings, Seen
from orchestrator.study.benchmarking import Transfer
from orchestrator.study.jackknife import Ratio
from orchestrator.study.ranks import mean_ranks

#: Rows that are no rule of their own: bounds, and decisions between rules.
NO_RULES = ("full budget", "oracle", RECOMMENDED, CHOSEN)


def method_table(rows: Sequence[BenchmarkRow], settings: BenchmarkSettings) -> FittingTable:
    """Return a table of a method's rules on concepts that had no part in their choice.

    Args:
        rows: of a single method.
        settings: of the benchmark.
    """
    below = f"under\n{100 * settings.objective.quality_kept:.3g} %"
    columns = [below, "nine in ten\nsplits", "steps", "/ fixed", "interval", "seconds\n/ fixed", "kept %"]
    table = new_table(["rule"], columns, words=["rule"])
    table.title = f"{escape(rows[0].method)}, {rows[0].budget} steps"
    table.title_justify, table.title_style = "left", "bold"
    for row in rows:
        applied, steps = row.applied, row.steps_ratio
        low, high = np.quantile(applied.below, [0.05, 0.95])
        table.add_texts(
            row.label,
            f"{100 * applied.below.mean():.0f} %",
            f"{100 * low:.0f}-{100 * high:.0f} %",
            f"{applied.steps.mean():.0f}",
            *_ratio_cells(steps),
            f"{row.seconds_ratio.value:.2f}" if row.seconds_ratio else "",
            f"{100 * applied.kept.mean():.1f}",
            style="bold green" if steps is not None and steps.is_below_one and row.label != "oracle" else "",
        )
    return table


def _ratio_cells(ratio: Ratio | None) -> tuple[str, str]:
    return ("", "") if ratio is None else (f"{ratio.value:.2f}", f"{ratio.low:.2f}-{ratio.high:.2f}")


def summary_table(rows: Sequence[BenchmarkRow], settings: BenchmarkSettings) -> FittingTable:
    """Return a table of every rule over all methods on which it could be compared.

    Args:
        rows: of all methods.
        settings: of the benchmark.
    """
    below = f"under\n{100 * settings.objective.quality_kept:.3g} %"
    ranks = ranks_of(rows)
    table = new_table(
        ["rule"], [below, "steps, %\nof budget", "/ fixed", "worst", "best", "seconds\n/ fixed", "rank"], words=["rule"]
    )
    table.title = "all methods"
    table.title_justify, table.title_style = "left", "bold"
    for label, of_rule in grouped(rows).items():
        steps = [row.steps_ratio.value for row in of_rule if row.steps_ratio]
        seconds = [row.seconds_ratio.value for row in of_rule if row.seconds_ratio]
        table.add_texts(
            label,
            f"{100 * fmean(row.applied.below.mean() for row in of_rule):.0f} %",
            f"{100 * fmean(row.applied.steps.mean() / row.budget for row in of_rule):.1f}",
            *([f"{fmean(steps):.2f}", f"{max(steps):.2f}", f"{min(steps):.2f}"] if steps else ["", "", ""]),
            f"{fmean(seconds):.2f}" if seconds else "",
            f"{ranks[label]:.1f}" if label in ranks else "",
        )
    return table


def grouped(rows: Iterable[BenchmarkRow]) -> dict[str, list[BenchmarkRow]]:
    """Return the rows of each rule, in the order of the rules."""
    groups: dict[str, list[BenchmarkRow]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    return groups


def ranks_of(rows: Sequence[BenchmarkRow]) -> dict[str, float]:
    """Return the mean rank in steps of every rule that was compared on every method; references have none."""
    methods = {row.method for row in rows}
    costs = {
        label: [float(row.applied.steps.mean()) for row in of_rule]
        for label, of_rule in grouped(rows).items()
        if label not in NO_RULES and len(of_rule) == len(methods)
    }
    return mean_ranks(costs) if costs else {}


def promise_table(seen: Sequence[Seen]) -> FittingTable:
    """Return a table of what was promised of new concepts, and what was seen of them."""
    table = new_table(["rule"], ["tuning\nconcepts", "promised\nat most", "seen", "worst\nmethod"], words=["rule"])
    table.title = "share under the target on new concepts"
    table.title_justify, table.title_style = "left", "bold"
    for each in seen:
        table.add_texts(
            each.label,
            str(each.tuning),
            f"{100 * each.promised:.0f} %",
            f"{100 * each.seen:.1f} %",
            f"{100 * each.worst:.1f} %",
        )
    return table


def adaptation_table(rows: Sequence[BenchmarkRow]) -> FittingTable:
    """Return a table of whether rules follow what the concepts need: means over methods."""
    table = new_table(["rule"], ["spread\nof stops", "correlation\nwith need", "elasticity\nto tempo"], words=["rule"])
    table.title = "adaptation, each setting chosen on all concepts"
    table.title_justify, table.title_style = "left", "bold"
    for label, of_rule in grouped(row for row in rows if row.adaptation).items():
        looks = [row.adaptation for row in of_rule if row.adaptation]
        table.add_texts(
            label,
            _mean([look.spread for look in looks], ".2f"),
            _mean([look.correlation for look in looks], "+.2f"),
            _mean([look.elasticity for look in looks], ".2f"),
        )
    return table


def _mean(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return format(fmean(known), form) if known else ""


def transfer_table(transfers: Sequence[Transfer], settings: BenchmarkSettings) -> FittingTable:
    """Return a table of what was chosen on a row's method and used on a column's: share under / % of the budget.

    Args:
        transfers: of all pairs of methods.
        settings: of the benchmark; cells that keep what is promised are green.
    """
    targets = list(dict.fromkeys(transfer.target for transfer in transfers))
    allowed = settings.objective.risk_with(settings.tuning)
    table = FittingTable(compact=True)
    table.title = "chosen on a row's method, used on a column's: % under the target / % of the budget"
    table.title_justify, table.title_style = "left", "bold"
    table.add_headings(["rule, chosen on"])
    table.add_headings([method.replace("_", "\n") for method in targets], right=True)
    for label, source in dict.fromkeys((transfer.label, transfer.source) for transfer in transfers):
        cells = {each.target: each for each in transfers if (each.label, each.source) == (label, source)}
        table.add_texts(f"{label}, {source}", *(_carried_cell(cells[target], allowed) for target in targets))
    return table


def _carried_cell(transfer: Transfer, allowed: float) -> Text:
    own = "bold " if transfer.source == transfer.target else ""
    text = f"{100 * transfer.carried.below:.0f}/{100 * transfer.carried.steps_share:.0f}"
    return Text(text, own + ("green" if transfer.carried.below <= allowed else ""))
