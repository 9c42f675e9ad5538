"""Sink: the protocol by which a run reports what happened; the orchestrator brings the implementations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

from trainables.types import JsonObject

#: Of a snapshot that was scored once.
NO_SCORES: Mapping[str, Sequence[float]] = MappingProxyType({})

EndState = Literal["complete", "stopped", "failed"]


@dataclass(frozen=True)
class StepRow:
    """The facts of an optimizer step.

    Attributes:
        step: 1-based number of the optimizer step after which the losses were measured.
        l_det: deterministic loss (paper, equation 4), the mean over a fixed batch as `LDetSchedule` says; None if it
            was not evaluated.
        train_loss: the method's own stochastic loss on this step's batch.
        grad_norm: Euclidean norm of the gradient of everything that trains.
        seconds: time of the training step without the evaluation of L_det.
        l_det_seconds: time of the evaluation of L_det, without that of batches which are only recorded.
        input_losses: mean squared error of every input of every batch, in their order; NaN if not evaluated.
    """

    step: int
    l_det: float | None
    train_loss: float
    grad_norm: float
    seconds: float
    l_det_seconds: float
    input_losses: tuple[float, ...]


class Sink(Protocol):
    """Receives the facts of a run in order. Every method returns only when what it was given is stored safely."""

    def started(self, facts: JsonObject) -> None:
        """Note the facts of a run that is set up: fixed inputs, device, library versions (plain JSON)."""

    def checkpoint_folder(self) -> Path | None:
        """Return a local copy of the newest checkpoint, or None if no checkpoint was received."""

    def resumed(self, step: int) -> None:
        """Forget everything that was reported after `step`, because training continues from that step."""

    def steps(self, rows: Sequence[StepRow]) -> None:
        """Append rows; the first follows the last row received."""

    def snapshot(
        self,
        step: int,
        scores: Mapping[str, float],
        seconds: Mapping[str, float],
        files: Path,
        repeated_scores: Mapping[str, Sequence[float]] = NO_SCORES,
    ) -> None:
        """Keep a snapshot of `step`.

        Args:
            step: optimizer steps done.
            scores: by name, as in `quality.clip.Measured`.
            seconds: that drawing and scoring took, by kind of samples: "train" and "val" (see `settings.SAMPLES_OF`).
            files: a folder with the adapter and the samples.
            repeated_scores: of further samples with other starting noise, by name; empty if none were drawn.
        """

    def checkpoint(self, step: int, files: Path) -> None:
        """Replace the checkpoint by the files in `files`; all rows up to `step` were received before."""

    def ended(self, state: EndState, reason: str, trace: str = "") -> None:
        """Close the run.

        Args:
            state: "complete" (the budget is used up), "stopped" (by a criterion) or "failed" (by an error).
            reason: a line for people.
            trace: traceback of the error.
        """
