"""CommandContext: what the steps of a command share, such as its experiment, concepts, console and tracker."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from orchestrator import runs
from orchestrator.commands import preflight
from orchestrator.config.concepts import read_concepts
from orchestrator.config.experiment import Experiment
from orchestrator.config.split import Split, split_concepts
from orchestrator.recordings.recording import Recording
from orchestrator.report.console.progress import waiting
from orchestrator.study import best as best_file
from orchestrator.study.best import Best
from orchestrator.tracking.mlflow import Tracker
from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.settings import MINIATURE

BEST_FILE = "best.yaml"


@dataclass(frozen=True)
class CommandContext:
    """What the steps of a command share; all of it is read when the command begins.

    Attributes:
        experiments: one per seed, in the order of the seeds.
        concepts: every concept that the command works on; empty if it needs no models.
        best_path: the file of the best setting.
        console: where the command prints.
        tracker: writes to MLflow.
    """

    experiments: tuple[Experiment, ...]
    concepts: tuple[Concept, ...]
    best_path: Path
    console: Console
    tracker: Tracker

    @classmethod
    def open(
        cls, experiment: Experiment, best: Path | None = None, *, needs_models: bool = True, trains: bool = False
    ) -> "CommandContext":
        """Check what can be checked in seconds, connect to MLflow, and read what the experiment names.

        Args:
            experiment: what the command works on.
            best: the file of the best setting; None is best.yaml in a local storage, else in the current folder.
            needs_models: whether to read concepts and base model, so that problems with them show before anything
                begins.
            trains: whether the command trains, and so needs method, storage and cluster.

        Raises:
            InvalidInput: one of these cannot be used, or MLflow refuses.
        """
        console, experiments = Console(highlight=False), tuple(experiment.of_seeds())
        is_rendered = experiment.concepts.source == MINIATURE
        concepts: tuple[Concept, ...] = ()
        if trains:
            with waiting(console, "checking method, storage and cluster"):
                preflight.check(experiment)
        if needs_models and not is_rendered:
            with waiting(console, "reading concepts"):
                concepts = tuple(read_concepts(experiments[0]))
        with waiting(console, "opening MLflow"):
            tracker = Tracker(experiment)
        if tracker.problem:
            console.print(
                f"[yellow]warning: {escape(tracker.problem)}; these runs are not logged there[/]", soft_wrap=True
            )
        if needs_models and is_rendered:
            with waiting(console, "rendering concepts"):
                concepts = tuple(read_concepts(experiments[0]))
        if needs_models:
            with waiting(console, "reading the base model"):
                runs.run_specs(experiments[0], concepts)  # raises the problems of its files
        return cls(experiments, concepts, best or _default_best(experiment), console, tracker)

    @property
    def experiment(self) -> Experiment:
        """The experiment of the first seed."""
        return self.experiments[0]

    @property
    def split(self) -> Split:
        """The tuning concepts and the test concepts; see `split_concepts`."""
        return split_concepts(self.experiment, self.concepts)

    def for_tuning(self) -> "CommandContext":
        """Return the same context with only the tuning concepts and the first seed."""
        return replace(self, experiments=self.experiments[:1], concepts=self.split.tuning)

    def say(self, text: str) -> None:
        """Print a line of console markup, which the terminal wraps."""
        self.console.print(text, soft_wrap=True)

    def say_where_runs_are(self) -> None:
        """Print how to browse what MLflow holds."""
        self.say(escape(self.tracker.where_runs_are()))

    def run_name(self, concept: str, seed: int | None) -> str:
        """Return a concept's name, with the seed of its run where the command has several."""
        return f"{concept}, seed {seed}" if len(self.experiments) > 1 else concept

    def read_best(self) -> Best:
        """Read best.yaml, and print a note for each of method, base model and budget that it was not tuned for.

        Raises:
            InvalidInput: the file is missing or not understood.
        """
        setting, experiment = best_file.read(self.best_path), self.experiment
        current = {
            "method": experiment.method.name,
            "base_model": experiment.base_model.id,
            "budget": str(experiment.budget),
        }
        for name, value in current.items():
            tuned_for = str(getattr(setting, name))
            if tuned_for != value:
                path = escape(str(self.best_path))
                self.say(f"[yellow]note: {path} was tuned for {name} {tuned_for}, but this is {value}[/]")
        return setting

    def unseen(self, setting: Best) -> list[Concept]:
        """Return the concepts on which a setting was not tuned."""
        return [concept for concept in self.concepts if concept.name not in setting.tuned_on]

    def recordings(self, concepts: Sequence[Concept]) -> list[Recording]:
        """Read the complete recordings of the given concepts, with every seed.

        Raises:
            InvalidInput: a recording is missing or not complete; the message names all of these.
        """
        store = runs.recordings(self.experiment)
        recordings: dict[str, Recording | None] = {}
        for experiment in self.experiments:
            for spec in runs.run_specs(experiment, concepts):
                recordings[self.run_name(spec.concept, experiment.seed)] = store.find(spec.identity)
        states = {name: recording.state if recording else "missing" for name, recording in recordings.items()}
        lacking = [f"{name} ({state})" for name, state in states.items() if state != "complete"]
        if lacking:
            raise InvalidInput(
                f"no complete recording of {', '.join(lacking)} in {store.url} for these settings; "
                "make them with `dvar record` and the same flags"
            )
        return [recording for recording in recordings.values() if recording]


def _default_best(experiment: Experiment) -> Path:
    return (runs.storage_of(experiment).path or Path()) / BEST_FILE
