"""Tables on the terminal: strategies side by side, a study's result, lists. What was not measured is omitted."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.recordings.recording import Recording
from orchestrator.replay.outcome import Outcome, Spread, Summary
from orchestrator.report.console.fitting import FittingTable, Kind
from orchestrator.study.result import StudyResult, TrialResult
from search_spaces.defaults import MethodDefaults


@dataclass(frozen=True)
class StrategyRow:
    """A strategy, and the summary of its outcomes on the test concepts."""

    name: str
    summary: Summary

    @classmethod
    def of(cls, name: str, outcomes: Sequence[Outcome]) -> "StrategyRow":
        """Summarise a strategy's outcomes, of which there must be at least one."""
        return cls(name, Summary.of(outcomes))

    def metrics(self) -> dict[str, float]:
        """Return means by name, and standard deviations as NAME_std if there are several concepts.

        What was not measured is absent.
        """
        spreads = self.summary.spreads()
        means = {name: spread.mean for name, spread in spreads.items()}
        deviations = {f"{name}_std": spread.std for name, spread in spreads.items() if spread.std is not None}
        return means | deviations | {"concepts": float(self.summary.concepts)}


def new_table(
    left: Sequence[str] = (), right: Sequence[str] = (), *, names: Sequence[str] = (), words: Sequence[str] = ()
) -> FittingTable:
    """Return an empty table in the style of all of them.

    Args:
        left: headings of the first columns, which are aligned to the left.
        right: headings of the columns after them, which are aligned to the right.
        names: those of `left` whose cells are broken anywhere where the terminal is narrow.
        words: those of `left` whose cells are broken between words; others keep their width.
    """
    table = FittingTable()
    lines = max((heading.count("\n") for heading in (*left, *right)), default=0)
    for heading in left:
        kind: Kind = "name" if heading in names else "words" if heading in words else "value"
        table.add_headings([_padded(heading, lines)], kind=kind)
    table.add_headings([_padded(heading, lines) for heading in right], right=True)
    return table


def _padded(heading: str, lines: int) -> str:
    """Put a heading on the last of several lines."""
    return "\n" * (lines - heading.count("\n")) + heading


def comparison_table(rows: Sequence[StrategyRow]) -> FittingTable:
    """Return a table like the paper's Table 1: a strategy per row, mean ± standard deviation over concepts."""
    unit = time_unit([row.summary.seconds for row in rows])
    table = new_table(["strategy"], ["iterations", unit[0], "% of budget", "% of quality"], words=["strategy"])
    for row in rows:
        table.add_texts(row.name, *_cells(row.summary, unit))
    return table


def _cells(summary: Summary, unit: tuple[str, float]) -> list[str]:
    return [
        spread(summary.iterations),
        spread(summary.seconds, 1 / unit[1]),
        spread(summary.share, 100),
        spread(summary.quality_kept, 100),
    ]


def time_unit(spreads: Sequence[Spread | None]) -> tuple[str, float]:
    """Return the unit for the longest time and its length in seconds: minutes, or seconds below two minutes."""
    longest = max((spread.mean for spread in spreads if spread), default=0.0)
    return ("minutes", 60.0) if longest >= 120 else ("seconds", 1.0)


def spread(value: Spread | None, scale: float = 1.0) -> str:
    """Format mean and standard deviation to a tenth; empty for what was not measured."""
    if value is None:
        return ""
    mean = f"{value.mean * scale:.1f}"
    return mean if value.std is None else f"{mean} ± {value.std * scale:.1f}"


def study_table(result: StudyResult) -> FittingTable:
    """Return a table of the best setting, those around it, the best of other criteria, references and defaults."""
    table = _settings_table(result)
    _add(table, result, "best", result.best, "bold green" if result.best.is_feasible else "bold yellow")
    for neighbour in result.neighbours:
        _add(table, result, "near", neighbour, "")
    for other in result.best_of_each():
        if other.name != result.best.name:
            _add(table, result, "other", other, "")
    for reference in result.references:
        _add(table, result, "beside", reference, "")
    for default in result.default_results:
        _add(table, result, "default", default, "cyan")
    near = "the next later and the next earlier" if result.objective.is_reliable else "one parameter 10 % down or up"
    notes = {
        f"near: {near}": bool(result.neighbours),
        "other: best of each other criterion": len(result.best_of_each()) > 1,
        "beside: what practitioners do, chosen by the same objective": bool(result.references),
        "default: as the paper sets it, or the method, for this budget": bool(result.default_results),
    }
    table.caption = "\n".join(note for note, is_shown in notes.items() if is_shown)
    table.caption_justify = "left"
    return table


def front_table(result: StudyResult, rows: int = 12) -> FittingTable:
    """Return a table of the Pareto front; a front of more than `rows` settings is thinned evenly."""
    table, front = _settings_table(result), result.front()
    chosen = sorted({round(i * (len(front) - 1) / max(1, rows - 1)) for i in range(rows)})
    for index in chosen:
        _add(table, result, "", front[index], "bold green" if front[index].criterion == result.best.criterion else "")
    return table


def _settings_table(result: StudyResult) -> FittingTable:
    seconds = ["seconds"] if result.objective.cost == "seconds" else []
    below = f"under\n{100 * result.objective.quality_kept:.3g} %"
    table = new_table(["", "setting"], ["steps", *seconds, "kept %", below], words=["setting"])
    table.add_headings([""])
    return table


def _add(table: FittingTable, result: StudyResult, label: str, trial: TrialResult, style: str) -> None:
    seconds = [f"{trial.cost:.1f}"] if result.objective.cost == "seconds" else []
    note = "" if trial.is_feasible else "low"
    below = f"{round(trial.share_below * len(trial.kept))} of {len(trial.kept)}"
    cells = [f"{trial.iterations:.1f}", *seconds, f"{100 * trial.quality_kept:.1f}", below]
    table.add_texts(label, str(trial.criterion), *cells, note, style=style)


def concepts_table(rows: Sequence[tuple[str, str, str]]) -> FittingTable:
    """Return a table of the concepts that ship with the program: name, class noun, and what each is meant for."""
    table = new_table(["concept", "class noun", "meant for"])
    for row in rows:
        table.add_texts(*row)
    return table


@dataclass(frozen=True)
class MethodRow:
    """A personalization method, as `dvar methods` shows it.

    Attributes:
        name: of the method.
        trains: what trains, in a few words.
        defaults: its budget, and DVAR's default N and alpha for it.
        recipes: names of its recipes.
    """

    name: str
    trains: str
    defaults: MethodDefaults
    recipes: Sequence[str]


def methods_table(rows: Sequence[MethodRow]) -> FittingTable:
    """Return a table of methods: name, what trains, budget, DVAR's default N and alpha, and recipes."""
    table = new_table(["method", "trains"], ["budget", "N", "alpha"], words=["trains"])
    table.add_headings(["recipes"], kind="words")
    for row in rows:
        numbers = (str(row.defaults.budget), str(row.defaults.window), f"{row.defaults.threshold:.2f}")
        table.add_texts(row.name, row.trains, *numbers, ", ".join(row.recipes))
    return table


def recordings_table(recordings: Sequence[Recording]) -> FittingTable:
    """Return a table of recordings: key, concept, method, seed, budget, and how the first quality went."""
    table = new_table(
        ["key", "concept", "method"], ["seed", "budget", "quality\nfirst", "best", "at\nstep"], names=["concept"]
    )
    for recording in recordings:
        table.add_texts(
            recording.key[:8],
            recording.concept,
            recording.identity.method,
            _seed(recording),
            str(recording.budget),
            *_quality_cells(recording),
        )
    return table


def _quality_cells(recording: Recording) -> list[str]:
    """Return the first and the best value of the first metric, and the step of the best value."""
    metric = next(iter(recording.quality.scores), None)
    if metric is None or not len(recording.quality.steps):
        return ["", "", ""]
    values = recording.quality.scores[metric]
    return [f"{values[0]:.3f}", f"{values.max():.3f}", str(int(recording.quality.steps[values.argmax()]))]


def _seed(recording: Recording) -> str:
    seed = recording.identity.seed
    return "" if seed is None else str(seed)


def curve_table(recording: Recording) -> FittingTable:
    """Return a table of a recording's quality at every snapshot, with L_det and the seconds so far."""
    table = new_table(right=["step", *recording.quality.scores, "L_det", "seconds"])
    spent = (recording.steps.seconds + recording.steps.l_det_seconds).cumsum()
    for index, step in enumerate(recording.quality.steps.tolist()):
        scores = [f"{values[index]:.3f}" for values in recording.quality.scores.values()]
        reached = 0 < step <= len(recording.steps)
        after = [f"{recording.steps.l_det[step - 1]:.5f}", f"{spent[step - 1]:.1f}"] if reached else ["", ""]
        table.add_texts(str(step), *scores, *after)
    return table
