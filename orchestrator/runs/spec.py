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
    """One run of one concept, small enough to travel in a trial's config.

    Attributes:
        concept: name of the concept.
        criterion: ends the run; None trains for the whole budget.
        identity: what determines the run, and so names its recording.
    """

    concept: str
    criterion: Criterion | None
    identity: RunIdentity

    @property
    def key(self) -> str:
        """Key of the run's recording."""
        return self.identity.key


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        spec: of the run.
        state: of its recording; None when nothing was recorded.
        steps: optimizer steps that are recorded.
        reason: why it ended, or the error.
        is_new: whether this call trained it; otherwise it was already complete.
    """

    spec: RunSpec
    state: State | None
    steps: int
    reason: str
    is_new: bool

    @property
    def is_good(self) -> bool:
        """Whether the run used its whole budget or was stopped by its criterion."""
        return self.state in DONE


class Listener(Protocol):
    """Follows runs on the driver: a progress display, an experiment tracker."""

    def runs_started(self, specs: Sequence[RunSpec], budget: int) -> None:
        """Take note that trials for these runs are about to start."""

    def run_reported(self, spec: RunSpec, report: Report) -> None:
        """Take in what a run reported while it trains."""

    def run_ended(self, result: RunResult) -> None:
        """Take note that a run ended, well or not."""


class RunSource(Protocol):
    """Hands out runs one by one, depending on how earlier ones ended. Nothing that it does may raise."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be handed out."""

    def next_run(self) -> RunSpec | None:
        """Return the next run; None while it depends on runs under way, or once the source has ended."""

    def run_ended(self, spec: RunSpec, *, has_failed: bool) -> None:
        """Take note that a run ended; why one failed is told by `run_failed` afterwards."""

    def run_failed(self, spec: RunSpec, reason: str) -> None:
        """Take note of why the trial of a run failed."""
