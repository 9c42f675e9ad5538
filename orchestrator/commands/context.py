"""CommandContext: what the steps of one command share, and what several commands do alike."""

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from orchestrator.config.experiment import Experiment, Split
from orchestrator.criteria import Criterion
from orchestrator.recordings.recording import Recording
from orchestrator.replay.replay import Outcome, replay
from orchestrator.report.console.progress import run_bars
from orchestrator.runs import launch as runs
from orchestrator.tracking.mlflow import Tracker
from trainables.data.concept import Concept
from trainables.errors import InvalidInput

BEST_FILE = "best.yaml"


class CommandContext:
    """What the steps of one command share: experiment, concepts, console and tracker.

    Args:
        experiment: what the command works on; of its several seeds, the first one's is `experiment`.
        best: the file of the best setting; None is best.yaml in a local storage, else in the current folder.
        needs_models: whether concepts and base model are read at once, so that what is wrong with them shows before
            anything begins.
    """

    def __init__(self, experiment: Experiment, best: Path | None = None, *, needs_models: bool = True) -> None:
        self.experiments = experiment.of_seeds()
        self.experiment = self.experiments[0]
        self.console = Console(highlight=False)
        self.best_path = best or _default_best(experiment)
        if needs_models:
            _ = self.jobs
        with self.console.status("opening MLflow"):
            self.tracker = Tracker(experiment)

    @cached_property
    def concepts(self) -> list[Concept]:
        """Every concept of the experiment."""
        with self.console.status("reading concepts"):
            return self.experiment.load_concepts()

    @cached_property
    def jobs(self) -> dict[str, runs.Job]:
        """The full-length run of every concept with the first seed."""
        with self.console.status("reading the base model"):
            return {job.concept.name: job for job in runs.jobs(self.experiment, self.concepts)}

    def of_tuning_concepts(self) -> "CommandContext":
        """Return the same context with the tuning concepts alone, and the first seed."""
        context = copy(self)
        context.concepts, context.experiments = list(self.split.tuning), self.experiments[:1]
        return context

    @cached_property
    def split(self) -> Split:
        """The concepts that tune and those that test."""
        return self.experiment.split(self.concepts)

    def say(self, text: str) -> None:
        """Print a line that the terminal wraps."""
        self.console.print(text, soft_wrap=True)

    def say_where_runs_are(self) -> None:
        """Print how to browse what MLflow holds."""
        self.say(escape(self.tracker.where_runs_are()))

    def recordings(self, concepts: Sequence[Concept]) -> list[Recording]:
        """Return the complete recordings of concepts, with every seed.

        Raises:
            InvalidInput: one is missing or not complete; all of them are named.
        """
        store = runs.recordings(self.experiment)
        found = {}
        for experiment in self.experiments:
            of_seed = f", seed {experiment.seed}" if len(self.experiments) > 1 else ""
            for job in runs.jobs(experiment, concepts):
                found[f"{job.concept.name}{of_seed}"] = store.find(job.identity)
        states = {name: recording.state if recording else "missing" for name, recording in found.items()}
        lacking = [f"{name} ({state})" for name, state in states.items() if state != "complete"]
        if lacking:
            raise InvalidInput(
                f"no complete recording of {', '.join(lacking)} in {store.url} for these settings; "
                "make them with `dvar record` and the same flags"
            )
        return [recording for recording in found.values() if recording]


def _default_best(experiment: Experiment) -> Path:
    remote = "://" in experiment.storage
    return Path(BEST_FILE) if remote else Path(runs.storage_folder(experiment, BEST_FILE))


def make_recordings(context: CommandContext) -> bool:
    """Record every concept of a context with every seed; return whether all are complete."""
    ended = []
    for experiment in context.experiments:
        verb = f"recording seed {experiment.seed} of" if len(context.experiments) > 1 else "recording"
        with context.tracker.run("record", experiment.public()) as parent, run_bars(context.console, verb) as shown:
            ended += runs.record(experiment, context.concepts, [parent, shown])
    known = sum(not one.is_new for one in ended)
    if known:
        context.say(f"{known} of {len(ended)} were complete already and were not recorded again")
    return report(context, ended, runs.storage_folder(context.experiment, runs.RECORDINGS))


def report(context: CommandContext, ended: Sequence[runs.Ended], folder: str) -> bool:
    """Say what failed and how many are done; return whether all are."""
    failed = [one for one in ended if not one.is_good]
    say_failed(context, failed)
    what = "concepts" if len({one.job.concept.name for one in ended}) == len(ended) else "runs"
    context.say(f"{len(ended) - len(failed)} of {len(ended)} {what} done, in {escape(folder)}")
    return not failed


def say_failed(context: CommandContext, failed: Sequence[runs.Ended]) -> None:
    """Say which runs failed, and why."""
    for one in failed:
        word = "unfinished" if one.state == "running" else "failed"
        of_seed = f", seed {one.job.identity['seed']}" if len(context.experiments) > 1 else ""
        name = escape(one.job.concept.name) + of_seed
        context.say(f"[red]{word}[/] {name} after {one.steps} steps: {escape(one.reason)}")


def say_agreement(
    context: CommandContext,
    live: Sequence[Outcome],
    recordings: Sequence[Recording],
    criterion: Criterion,
    measure: str,
) -> None:
    """Say whether live runs stopped where the criterion's replay over the recordings does."""
    if not live:
        if criterion.decides_by_step:
            context.say("no live runs of this setting yet: `dvar run` proves it")
        return
    replayed = {one.concept: replay(criterion, one, measure).stop_step for one in recordings}
    same = sum(replayed[one.concept] == one.stop_step for one in live)
    context.say(f"live and replayed stop at the same step: {same} of {len(live)} concepts")
