"""What a run is, how it ended, and who follows it: the types that launch, study, tracking and display share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.criteria import Criterion
from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.recording import DONE, State
from trainables.training.report import Report


@dataclass(frozen=True)
class RunSpec:
    """A single run of a concept, small enough to travel in a trial's config.

    Attributes:
        concept: name of the concept.
        criterion: ends the run; None trains for the full budget.
        identity: what determines the run, and therefore names its recording.
    """

    concept: str
    criterion: Criterion | None
    identity: RunIdentity

    @property
    def key(self) -> str:
        """Key of the run's recording: a hash of what determines the run."""
        return self.identity.key


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        spec: of the run.
        state: of its recording; None if nothing was recorded.
        steps: recorded optimizer steps.
        reason: why it ended, or the error.
        is_new: whether this call trained it; otherwise it was already complete.
        has_trial_failed: whether its trial ended with an error.
    """

    spec: RunSpec
    state: State | None
    steps: int
    reason: str
    is_new: bool
    has_trial_failed: bool = False

    @property
    def is_good(self) -> bool:
        """Whether the run used the full budget or was stopped by its criterion."""
        return self.state in DONE

    @property
    def has_failed(self) -> bool:
        """Whether it or its trial failed; a run that is neither good nor failed was interrupted, or never begun."""
        return self.state == "failed" or self.has_trial_failed


class Listener(Protocol):
    """Follows runs on the driver: a progress display, an experiment tracker."""

    def runs_started(self, specs: Sequence[RunSpec], budget: int) -> None:
        """Handle the start of trials for these runs, of at most `budget` optimizer steps each."""

    def run_reported(self, spec: RunSpec, report: Report) -> None:
        """Handle a report of a run that is training."""

    def run_ended(self, result: RunResult) -> None:
        """Handle the end of a run, successful or not."""


class RunSource(Protocol):
    """Hands out runs singly, depending on how earlier runs ended. None of its methods may raise."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be handed out."""

    def next_run(self) -> RunSpec | None:
        """Return the next run; None while it depends on active runs, or once the source has ended."""

    def run_ended(self, spec: RunSpec, *, has_failed: bool) -> None:
        """Handle the end of a run; `run_failed` follows with the reason if its trial failed."""

    def run_failed(self, spec: RunSpec, reason: str) -> None:
        """Handle the reason for which the trial of a run failed."""
