"""Progress on the terminal, with the remaining time."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from orchestrator.runs.launch import Ended, Job
from orchestrator.study.result import TrialResult


def bars(console: Console) -> Progress:
    """Make a display of bars with counts and the remaining time; nothing of it stays on the screen."""
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
    """A `runs.Listener` that shows one bar for all jobs and a line for each that ends."""

    def __init__(self, console: Console, progress: Progress, verb: str) -> None:
        self._console, self._progress, self._verb = console, progress, verb
        self._task: TaskID | None = None
        self._steps: dict[str, int] = {}
        self._budget = 0

    def begun(self, jobs: Sequence[Job], budget: int) -> None:
        """Show the bar."""
        self._budget = budget
        self._steps = {job.concept.name: 0 for job in jobs}
        total = budget * len(jobs)
        text = f"{self._verb} {len(jobs)} concept{'s' * (len(jobs) > 1)}"
        self._task = self._progress.add_task(text, total=total, unit="steps", detail="starting Ray")

    def reported(self, job: Job, result: Mapping[str, Any]) -> None:
        """Move the bar; a trial that stops early has its rest of the budget saved, which moves it too."""
        name, step = job.concept.name, result["step"]
        self._steps[name] = self._budget if result["state"] == "stopped" else step
        loss = f", L_det {result['l_det']:.4f}" if "l_det" in result else ""
        if result["state"] != "running":
            self._console.print(f"  [green]{result['state']:>8}[/]  {escape(name)} at step {step}")
        self._update(f"{name}: step {step}{loss}")

    def ended(self, ended: Ended) -> None:
        """Count a failed job as done; the command tells why it failed."""
        self._steps[ended.job.concept.name] = self._budget
        self._update("")

    def _update(self, detail: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=sum(self._steps.values()), detail=detail)


class StudyBar:
    """Shows how many settings were tried, and the best so far; of a live study, as a `runs.Listener`, what trains."""

    def __init__(self, progress: Progress, trials: int) -> None:
        self._progress = progress
        self._task = progress.add_task("searching", total=trials, unit="settings", detail="")
        self._best = ""

    def tried(self, count: int, best: TrialResult) -> None:
        """Move the bar."""
        kept = f"{best.iterations:.0f} steps, {100 * best.quality_kept:.1f} % kept"
        self._best = f"best: {best.criterion} {kept}"
        self._progress.update(self._task, completed=count, detail=self._best)

    def begun(self, jobs: Sequence[Job], budget: int) -> None:
        """Wait for the first report."""

    def reported(self, job: Job, result: Mapping[str, Any]) -> None:
        """Say what trains."""
        parts = [f"{job.concept.name}: step {result['step']}", self._best]
        self._progress.update(self._task, detail=", ".join(part for part in parts if part))

    def ended(self, ended: Ended) -> None:
        """Say no more of it."""
        self._progress.update(self._task, detail=self._best)


@contextmanager
def study_bar(console: Console, trials: int) -> Iterator[StudyBar]:
    """Show progress of a study while the context lasts."""
    with bars(console) as progress:
        yield StudyBar(progress, trials)


@contextmanager
def run_bars(console: Console, verb: str) -> Iterator[RunBars]:
    """Show progress of runs while the context lasts."""
    with bars(console) as progress:
        yield RunBars(console, progress, verb)
