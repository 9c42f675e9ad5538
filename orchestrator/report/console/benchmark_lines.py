"""What `dvar benchmark` says about its tables, as lines of console markup."""

from collections.abc import Iterator
from statistics import fmean

from orchestrator.report.console.benchmark_tables import NO_RULES, grouped, ranks_of
from orchestrator.report.console.markup import escape
from orchestrator.report.console.study import promise
from orchestrator.study.benchmark import CHOSEN, RECOMMENDED
from orchestrator.study.benchmark_rows import BenchmarkRow, BenchmarkSettings
from orchestrator.study.benchmarking import LABELS, BenchmarkResult
from orchestrator.study.ranks import critical_difference
from orchestrator.study.recommendation import FIXED

_REFERENCES = (*NO_RULES, LABELS[FIXED])


def benchmark_lines(result: BenchmarkResult, settings: BenchmarkSettings) -> Iterator[str]:
    """Yield how to read the tables of methods, and what they show.

    Args:
        result: of the benchmark.
        settings: of the benchmark.
    """
    yield promise(settings.objective, settings.tuning)
    yield (
        f"each rule is chosen on {settings.tuning} concepts and applied to all others, on {settings.splits} random "
        "splits; under: share of these others that keep less; / fixed: to the fixed number of the same promise, with "
        "what L_det costs in seconds; interval: nine in ten, over concepts; green: fewer steps, not by chance"
    )
    ranks = ranks_of(result.rows)
    methods = len({row.method for row in result.rows})
    if len(ranks) > 1 and methods > 1:
        difference = critical_difference(len(ranks), methods)
        yield f"rank: mean over methods by steps, 1 is best; differences below {difference:.1f} are no more than chance"
    yield from _verdict(result)


def _verdict(result: BenchmarkResult) -> Iterator[str]:
    rules = {label: rows for label, rows in grouped(result.rows).items() if label not in _REFERENCES}
    if not rules:
        return
    cheaper = {
        label: [row.method for row in rows if row.steps_ratio and row.steps_ratio.is_below_one]
        for label, rows in rules.items()
    }
    for label, methods in cheaper.items():
        if methods:
            listed = ", ".join(f"{escape(method)} {_ratio(rules[label], method)}" for method in methods)
            yield f"[bold]{escape(label)}[/] needs fewer steps than the fixed number of the same promise for: {listed}"
    everywhere = [label for label, rows in rules.items() if _worst(rows) <= 1.0]
    if not everywhere:
        yield (
            "[bold]no rule needs at most the fixed number's steps on every method[/]; the closest over all methods is "
            f"{escape(_closest(rules))}"
        )
    else:
        yield f"at most the fixed number's steps on every method: {escape(', '.join(everywhere))}"
    yield from _decisions(result)


def _decisions(result: BenchmarkResult) -> Iterator[str]:
    about = {
        RECOMMENDED: "dvar where the tuning concepts of a split show that it really saves, else the fixed number",
        CHOSEN: "dvar or the fixed number, decided once per method on half of its concepts, and judged on the others",
    }
    for label, meaning in about.items():
        rows = [row for row in result.rows if row.label == label]
        for measure in ("steps", "seconds"):
            ratios = [ratio.value for row in rows if (ratio := getattr(row, f"{measure}_ratio")) is not None]
            if ratios:
                yield (
                    f"{label} ({meaning}): {min(ratios):.2f} to {max(ratios):.2f} of the fixed number's {measure}, "
                    f"{fmean(ratios):.2f} on average"
                )


def _ratio(rows: list[BenchmarkRow], method: str) -> str:
    ratio = next(row.steps_ratio for row in rows if row.method == method)
    assert ratio is not None
    return f"{ratio.value:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def _worst(rows: list[BenchmarkRow]) -> float:
    return max((row.steps_ratio.value for row in rows if row.steps_ratio), default=float("inf"))


def _closest(rules: dict[str, list[BenchmarkRow]]) -> str:
    label = min(rules, key=lambda label: _worst(rules[label]))
    return f"{label} with at most {_worst(rules[label]):.2f} of them"
