"""Progress bars on the terminal, with counts and the remaining time; lines where the output is no terminal."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from orchestrator.report.console.markup import escape
from orchestrator.runs.spec import RunResult, RunSpec
from orchestrator.study.result import TrialResult
from trainables.training.report import L_DET, Report

#: Where the output is no terminal, such as the log of a batch job, a line follows after this many seconds.
LINE_SECONDS = 60.0


@contextmanager
def waiting(console: Console, text: str) -> Iterator[None]:
    """Say what happens while the context lasts, which may take seconds: a spinner, or a line in a log."""
    if console.is_terminal:
        with console.status(text):
            yield
    else:
        console.print(f"{text} ...", soft_wrap=True, markup=False)
        yield


def bars(console: Console) -> Progress:
    """Make a display of bars with counts and the remaining time, which disappears at its end."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[detail]}"),
        console=console,
        transient=True,
    )


class RunBars:
    """A `runs.Listener` that shows a single bar for all runs, and a line for each run that ends."""

    def __init__(self, console: Console, progress: Progress, verb: str) -> None:
        self._console, self._progress, self._verb = console, progress, verb
        self._task: TaskID | None = None
        self._steps: dict[str, int] = {}
        self._budget = 0
        self._last_line = time.monotonic()

    def runs_started(self, specs: Sequence[RunSpec], budget: int) -> None:
        """Show a bar over the steps of all runs, which waits for Ray to start."""
        self._budget = budget
        self._steps = {spec.key: 0 for spec in specs}
        total = budget * len(specs)
        text = f"{self._verb} {len(specs)} concept{'s' * (len(specs) > 1)}"
        self._task = self._progress.add_task(text, total=total, unit="steps", detail="starting Ray")
        if not self._console.is_terminal:
            self._console.print(f"{text}, {total} steps; starting Ray ...", soft_wrap=True, markup=False)

    def run_reported(self, spec: RunSpec, report: Report) -> None:
        """Move the bar; a run that stops early saves the rest of its budget, which moves the bar too."""
        self._steps[spec.key] = self._budget if report.state == "stopped" else report.step
        loss = f", L_det {report.metrics[L_DET]:.4f}" if L_DET in report.metrics else ""
        if report.has_ended:
            self._console.print(f"  [green]{report.state:>8}[/]  {escape(spec.concept)} at step {report.step}")
        self._update(f"{escape(spec.concept)}: step {report.step}{loss}")

    def run_ended(self, result: RunResult) -> None:
        """Count a failed run as done; the command says why it failed."""
        self._steps[result.spec.key] = self._budget
        self._update("")

    def _update(self, detail: str) -> None:
        done = sum(self._steps.values())
        if self._task is not None:
            self._progress.update(self._task, completed=done, detail=detail)
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            total = self._budget * len(self._steps)
            self._console.print(f"{self._verb}: {done} of {total} steps; {detail}", soft_wrap=True)


class StudyBar:
    """Shows how many settings were tried, and the best so far; also what trains, as a live study's `runs.Listener`."""

    def __init__(self, progress: Progress, trials: int) -> None:
        self._progress = progress
        self._task = progress.add_task("searching", total=trials, unit="settings", detail="")
        self._best = ""

    def tried(self, count: int, best: TrialResult) -> None:
        """Move the bar to `count` settings, and show the best setting so far."""
        kept = f"{best.iterations:.0f} steps, {100 * best.quality_kept:.1f} % kept"
        self._best = f"best: {escape(str(best.criterion))} {kept}"
        self._progress.update(self._task, completed=count, detail=self._best)

    def runs_started(self, specs: Sequence[RunSpec], budget: int) -> None:
        """Show nothing yet: the first report follows."""

    def run_reported(self, spec: RunSpec, report: Report) -> None:
        """Show the concept that reported last and its step, before the best setting so far."""
        parts = [f"{escape(spec.concept)}: step {report.step}", self._best]
        self._progress.update(self._task, detail=", ".join(part for part in parts if part))

    def run_ended(self, result: RunResult) -> None:
        """Show only the best setting so far."""
        self._progress.update(self._task, detail=self._best)


@contextmanager
def study_bar(console: Console, trials: int) -> Iterator[StudyBar]:
    """Show the progress of a study of `trials` settings while the context lasts."""
    if not console.is_terminal:
        console.print(f"searching {trials} settings ...", soft_wrap=True, markup=False)
    with bars(console) as progress:
        yield StudyBar(progress, trials)


@contextmanager
def run_bars(console: Console, verb: str) -> Iterator[RunBars]:
    """Show the progress of runs while the context lasts; `verb` says what happens to the concepts."""
    with bars(console) as progress:
        yield RunBars(console, progress, verb)
