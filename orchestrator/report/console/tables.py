"""Tables on the terminal: strategies side by side, and a study's result. What was not measured is left out."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from orchestrator.recordings.recording import Recording
from orchestrator.recordings.store import RecordingSummary
from orchestrator.replay.replay import Outcome, Spread, Summary
from orchestrator.study.result import StudyResult, TrialResult


@dataclass(frozen=True)
class Row:
    """A strategy and its figures over the test concepts."""

    name: str
    summary: Summary

    @classmethod
    def of(cls, name: str, outcomes: Sequence[Outcome]) -> "Row":
        """Summarise a strategy's outcomes, at least one."""
        return cls(name, Summary.of(outcomes))

    def metrics(self) -> dict[str, float]:
        """Return what was measured, by name: means, and standard deviations where there are several concepts."""
        spreads = {name: getattr(self.summary, name) for name in ("iterations", "share", "seconds", "quality_kept")}
        means = {name: one.mean for name, one in spreads.items() if one}
        deviations = {f"{name}_std": one.std for name, one in spreads.items() if one and one.std is not None}
        return means | deviations | {"concepts": float(self.summary.concepts)}


def comparison_table(rows: Sequence[Row]) -> Table:
    """Return a table in the manner of the paper's Table 1: mean ± standard deviation over concepts."""
    unit = time_unit([row.summary.seconds for row in rows])
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("strategy", no_wrap=True)
    for name in ("iterations", unit[0], "% of budget", "% of quality"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(Text(row.name), *_cells(row.summary, unit))
    return table


def _cells(summary: Summary, unit: tuple[str, float]) -> list[str]:
    return [
        spread(summary.iterations),
        spread(summary.seconds, 1 / unit[1]),
        spread(summary.share, 100),
        spread(summary.quality_kept, 100),
    ]


def time_unit(spreads: Sequence[Spread | None]) -> tuple[str, float]:
    """Return the unit that suits the longest time, and its seconds: minutes, or seconds below two minutes."""
    longest = max((one.mean for one in spreads if one), default=0.0)
    return ("minutes", 60.0) if longest >= 120 else ("seconds", 1.0)


def spread(value: Spread | None, scale: float = 1.0) -> str:
    """Write mean and standard deviation with one decimal; nothing for what was not measured."""
    if value is None:
        return ""
    mean = f"{value.mean * scale:.1f}"
    return mean if value.std is None else f"{mean} ± {value.std * scale:.1f}"


def study_table(result: StudyResult) -> Table:
    """Return the best setting, those near it, the best of the other criteria and those tried first."""
    table = _settings_table(result)
    _add(table, result, "best", result.best, "bold green" if result.best.is_feasible else "bold yellow")
    for one in result.neighbours:
        _add(table, result, "near", one, "")
    for one in result.best_of_each():
        if one.name != result.best.name:
            _add(table, result, "other", one, "")
    for one in result.default_results:
        _add(table, result, "first", one, "cyan")
    others = len(result.best_of_each()) > 1
    parts = ["near: a tenth down and up"] * bool(result.neighbours) + ["other: best of each other criterion"] * others
    table.caption = "; ".join([*parts, "first: tried first"])
    table.caption_justify = "left"
    return table


def front_table(result: StudyResult, rows: int = 12) -> Table:
    """Return the settings that none beats in both cost and quality, at most `rows` of them, evenly taken."""
    table, front = _settings_table(result), result.front()
    chosen = sorted({round(i * (len(front) - 1) / max(1, rows - 1)) for i in range(rows)})
    for index in chosen:
        _add(table, result, "", front[index], "bold green" if front[index].criterion == result.best.criterion else "")
    return table


def _settings_table(result: StudyResult) -> Table:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("setting", no_wrap=True)
    for name in ("steps", *(["seconds"] if result.objective.cost == "seconds" else []), "kept %"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    return table


def _add(table: Table, result: StudyResult, label: str, one: TrialResult, style: str) -> None:
    seconds = [f"{one.cost:.1f}"] if result.objective.cost == "seconds" else []
    note = "" if one.is_feasible else "low"
    figures = [f"{one.iterations:.1f}", *seconds, f"{100 * one.quality_kept:.1f}"]
    table.add_row(label, Text(str(one.criterion)), *figures, note, style=style)


def concepts_table(rows: Sequence[tuple[str, str, str]]) -> Table:
    """Return a table of the concepts that come with the program: name, class noun, and what each is meant for."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("concept", "class noun", "meant for"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def methods_table(rows: Sequence[tuple[str, str, int, int, float, Sequence[str]]]) -> Table:
    """Return a table of methods: name, what trains, budget, DVAR's N and alpha for it, and recipes."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method", no_wrap=True)
    table.add_column("trains")
    for heading in ("budget", "N", "alpha"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("recipes", no_wrap=True)
    for name, trains, budget, window, threshold, recipes in rows:
        table.add_row(name, trains, str(budget), str(window), f"{threshold:.2f}", ", ".join(recipes))
    return table


def recordings_table(recordings: Sequence[Recording]) -> Table:
    """Return a table of recordings: key, concept, method, seed, budget, and how the first quality went."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("key", "concept", "method"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seed", "budget", "quality first", "best", "at step"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in recordings:
        measure = next(iter(one.quality.scores), None)
        figures = ["", "", ""]
        if measure is not None and len(one.quality.steps):
            values = one.quality.scores[measure]
            figures = [f"{values[0]:.3f}", f"{values.max():.3f}", str(int(one.quality.steps[values.argmax()]))]
        method = one.identity.get("method", {}).get("name", "")
        table.add_row(one.key[:8], one.concept, method, str(one.identity.get("seed", "")), str(one.budget), *figures)
    return table


def status_table(rows: Sequence[tuple[str, RecordingSummary]]) -> Table:
    """Return a table of runs: kind, concept, method, seed, state, steps, and why it ended or how long it is silent."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("run", "concept", "method", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("steps", justify="right", no_wrap=True)
    table.add_column("why")
    colours = {"running": "cyan", "failed": "red", "complete": "green", "stopped": "green"}
    for kind, one in rows:
        name = one.concept if not one.seed else f"{one.concept}, seed {one.seed}"
        why = one.reason if one.state != "running" else f"last written {_ago(one.age)} ago"
        state = Text(one.state, style=colours[one.state])
        table.add_row(kind, Text(name), one.method, state, f"{one.steps}/{one.budget}", Text(why))
    return table


def _ago(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def course_table(recording: Recording) -> Table:
    """Return a recording's quality at every snapshot, with the loss and the seconds so far."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("step", *recording.quality.scores, "L_det", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    spent = (recording.steps.seconds + recording.steps.l_det_seconds).cumsum()
    for index, step in enumerate(recording.quality.steps.tolist()):
        scores = [f"{values[index]:.3f}" for values in recording.quality.scores.values()]
        reached = 0 < step <= len(recording.steps)
        after = [f"{recording.steps.l_det[step - 1]:.5f}", f"{spent[step - 1]:.1f}"] if reached else ["", ""]
        table.add_row(str(step), *scores, *after)
    return table
