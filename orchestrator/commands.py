"""What the commands do: each calls the parts in order, keeps them in MLflow, and prints what was measured."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from orchestrator import runs, study
from orchestrator.criteria import DVAR, Criterion, Never
from orchestrator.experiment import Experiment, Split
from orchestrator.progress import StudyBar, bars, run_bars
from orchestrator.recording import Recording
from orchestrator.replay import Outcome, Summary, replay
from orchestrator.report.table import Row, comparison_table, study_table
from orchestrator.tracking import Tracker
from search_spaces import dvar as dvar_space
from trainables.concept import Concept
from trainables.errors import InvalidInput
from trainables.settings import MINIATURE

BEST_FILE = "best.yaml"


class Session:
    """A console and a tracker that the steps of one command share.

    Args:
        experiment: what the command works on.
        best: the file of the best setting; None is best.yaml in a local storage, else in the current folder.
    """

    def __init__(self, experiment: Experiment, best: Path | None = None) -> None:
        self.experiment = experiment
        self.console = Console(highlight=False)
        self.tracker = Tracker(experiment)
        self.best = best or _best_path(experiment)
        with self.console.status("reading the concepts"):
            self.concepts = experiment.load_concepts()
            self.split = experiment.split(self.concepts)

    def say(self, text: str) -> None:
        """Print a line that the terminal wraps."""
        self.console.print(text, soft_wrap=True)


def _best_path(experiment: Experiment) -> Path:
    remote = "://" in experiment.storage
    return Path(BEST_FILE) if remote else Path(runs.storage_folder(experiment, BEST_FILE))


def record(experiment: Experiment) -> bool:
    """Record every concept for the whole budget; return whether all recordings are complete."""
    return _record(Session(experiment))
