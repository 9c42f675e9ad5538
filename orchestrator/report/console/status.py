"""The table of runs that `dvar status` prints."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from orchestrator.recordings.store import RecordingSummary
from orchestrator.report.console.fitting import FittingTable
from orchestrator.report.console.tables import new_table
from trainables.types import JsonObject

_COLOURS = {
    "running": "cyan",
    "starting": "cyan",
    "waiting": "cyan",
    "interrupted": "yellow",
    "failed": "red",
    "complete": "green",
    "stopped": "green",
}


@dataclass(frozen=True)
class StatusRow:
    """A run, as `dvar status` shows it.

    Attributes:
        kind: "full length" or "live".
        concept, method, seed: what is trained.
        state: that of its recording, but "interrupted" if nobody works on it; "starting" or "waiting" before it begins.
        steps: recorded optimizer steps.
        budget: optimizer steps of a full-length run.
        why: why it ended, or how long it is silent.
        traceback: where the traceback of a failed run is; empty if there is none.
    """

    kind: str
    concept: str
    method: str
    seed: int
    state: str
    steps: int
    budget: int
    why: str
    traceback: str = ""

    @classmethod
    def of(cls, kind: str, summary: RecordingSummary, *, is_active: bool) -> "StatusRow":
        """Return the row of a recording; `is_active` says whether a live driver works on it."""
        state, why = str(summary.state), summary.reason
        if state == "running":
            why = f"last written {ago(summary.age)} ago"
            if not is_active:
                state, why = "interrupted", f"{why}; the same command goes on"
        return cls(
            kind,
            summary.concept,
            summary.method,
            summary.seed,
            state,
            summary.steps,
            summary.budget,
            why,
            summary.traceback or "",
        )

    @classmethod
    def waiting(cls, kind: str, run: JsonObject, word: str) -> "StatusRow":
        """Return the row of a run that has not begun, from what its driver's lease says about it."""
        text = {name: str(run.get(name, "")) for name in ("concept", "method")}
        count = {name: int(str(run.get(name, 0))) for name in ("seed", "budget")}
        return cls(kind, text["concept"], text["method"], count["seed"], word, 0, count["budget"], "")


def status_table(rows: Sequence[StatusRow]) -> FittingTable:
    """Return a table of runs: kind, concept, method, seed, state, steps, and why it ended or how long it is silent."""
    table = new_table(["run", "concept", "method", "state"], ["steps"], names=["concept"])
    table.add_headings(["why"], kind="words")
    for row in rows:
        name = row.concept if not row.seed else f"{row.concept}, seed {row.seed}"
        state = Text(row.state, style=_COLOURS[row.state])
        table.add_texts(row.kind, name, row.method, state, f"{row.steps}/{row.budget}", row.why)
    return table


def ago(seconds: float) -> str:
    """Format a duration in a suitable unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
