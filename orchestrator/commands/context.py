"""CommandContext: what the steps of a command share, such as its experiment, concepts, console and tracker."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from orchestrator import runs
from orchestrator.commands import preflight
from orchestrator.config.concepts import miniature_names, read_concepts
from orchestrator.config.experiment import Experiment
from orchestrator.config.split import Split, split_concepts
from orchestrator.recordings.recording import Recording
from orchestrator.report.console.markup import escape
from orchestrator.report.console.output import OutputConsole
from orchestrator.report.console.progress import waiting
from orchestrator.study import best as best_file
from orchestrator.study.best import Best
from orchestrator.tracking.mlflow import Tracker
from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.settings import MINIATURE


@dataclass(frozen=True)
class CommandContext:
    """What the steps of a command share; all of it is read when the command begins.

    Attributes:
        experiments: one per seed, in the order of the seeds.
        concepts: every concept that the command works on; empty if it needs no models.
        best: the file of the best setting as the user named it; None leaves it to `read_best` and `best_to_write`.
        console: where the command prints.
        tracker: writes to MLflow.
    """

    experiments: tuple[Experiment, ...]
    concepts: tuple[Concept, ...]
    best: Path | None
    console: Console
    tracker: Tracker

    @classmethod
    def open(
        cls, experiment: Experiment, best: Path | None = None, *, needs_models: bool = True, trains: bool = False
    ) -> "CommandContext":
        """Check what can be checked in seconds, connect to MLflow, and read what the experiment names.

        Args:
            experiment: what the command works on.
            best: the file of the best setting; None is that of the method and budget in `results_folder`.
            needs_models: whether to read concepts and base model, so that problems with them show before anything
                begins.
            trains: whether the command trains, and so needs method, storage and cluster.

        Raises:
            InvalidInput: one of these cannot be used, or MLflow refuses.
        """
        console, experiments = OutputConsole(), tuple(experiment.of_seeds())
        is_rendered = experiment.concepts.source == MINIATURE
        concepts: tuple[Concept, ...] = ()
        if needs_models and is_rendered:
            miniature_names(experiment)  # a wrong name costs no second yet
        if trains:
            with waiting(console, "checking method, storage and cluster"):
                preflight.check(experiment)
        if needs_models and not is_rendered:
            with waiting(console, "reading concepts"):
                concepts = tuple(read_concepts(experiments[0]))
        tracker = open_tracker(console, experiment)
        if needs_models and is_rendered:
            with waiting(console, "rendering concepts"):
                concepts = tuple(read_concepts(experiments[0]))
        if needs_models:
            with waiting(console, "reading the base model"):
                runs.run_specs(experiments[0], concepts)  # raises the problems of its files
        return cls(experiments, concepts, best, console, tracker)

    @property
    def experiment(self) -> Experiment:
        """The experiment of the first seed."""
        return self.experiments[0]

    @property
    def results_folder(self) -> Path:
        """Where best settings and pictures are: in a local storage, else in the current folder."""
        return runs.storage_of(self.experiment).path or Path()

    def best_to_write(self, base_model: str, budget: int) -> Path:
        """Return the file to which a search writes its best setting.

        Args:
            base_model: id of the base model of its recordings.
            budget: their optimizer steps.

        Raises:
            InvalidInput: the file holds a setting for another method, base model or budget, which would be lost.
        """
        method = self.experiment.method.name
        path = self.best or self.results_folder / best_file.file_name(method, budget)
        best_file.check_replaceable(path, method, base_model, budget)
        return path

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

    def say_concepts(self) -> None:
        """Print a line on each concept that was read from a folder: what is learned from it, and what is not used."""
        if self.experiment.concepts.source != MINIATURE:
            for concept in self.concepts:
                self.say(escape(concept.summary))

    def say_where_runs_are(self) -> None:
        """Print how to browse what MLflow holds."""
        self.say(escape(self.tracker.where_runs_are()))

    def run_name(self, concept: str, seed: int | None) -> str:
        """Return a concept's name, with the seed of its run where the command has several."""
        return f"{concept}, seed {seed}" if len(self.experiments) > 1 else concept

    def read_best(self) -> Best:
        """Read the best setting, and say which file it is in and for what else it was tuned, if for anything else.

        It is in the file that the user names, else in that of `best_file.find`.

        Raises:
            InvalidInput: the file is missing or not understood.
        """
        experiment = self.experiment
        path = self.best or best_file.find(self.results_folder, experiment.method.name, experiment.budget)
        setting, shown = best_file.read(path), escape(str(path))
        self.say(f"the best setting is that of {shown}")
        current = {
            "method": experiment.method.name,
            "base_model": experiment.base_model.id,
            "budget": str(experiment.budget),
        }
        for name, value in current.items():
            tuned_for = str(getattr(setting, name))
            if tuned_for != value:
                about = escape(f"{name} {tuned_for}, but this is {value}")
                self.say(f"[yellow]note: {shown} was tuned for {about}[/]")
        if setting.never_stops:
            self.say(
                f"[yellow]note: the setting stopped no tuning run before its budget of {setting.budget} steps, so it "
                "saves nothing; record and tune with a larger --budget, or tune with a lower --keep[/]"
            )
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


def open_tracker(console: Console, experiment: Experiment) -> Tracker:
    """Connect to MLflow, and print a warning if it does not answer.

    Raises:
        InvalidInput: MLflow refuses.
    """
    with waiting(console, "opening MLflow"):
        tracker = Tracker(experiment)
    if tracker.problem:
        text = f"[yellow]warning: {escape(tracker.problem)}; these runs are not logged there[/]"
        console.print(text, soft_wrap=True)
    return tracker
