"""The protocol by which a training reports what happened; the orchestrator brings the implementations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from trainables.types import JsonObject

EndState = Literal["complete", "stopped", "failed"]


@dataclass(frozen=True)
class StepRow:
    """The facts of one optimizer step.

    Attributes:
        step: 1-based number of the optimizer step after which the losses were measured.
        l_det: deterministic loss (paper, equation 4), the mean over the fixed batch as `LDetSchedule` says; None
            where it was not evaluated.
        train_loss: the method's own stochastic loss on this step's batch.
        grad_norm: Euclidean norm of the gradient of everything that trains.
        seconds: time of the training step without the evaluation of L_det.
        l_det_seconds: time of the evaluation of L_det.
        input_losses: mean squared error of every input of the fixed batch, in its order; NaN where not evaluated.
    """

    step: int
    l_det: float | None
    train_loss: float
    grad_norm: float
    seconds: float
    l_det_seconds: float
    input_losses: tuple[float, ...]


class Sink(Protocol):
    """Receives a training's facts in order. Every method returns only when what it was given is safe."""

    def started(self, facts: JsonObject) -> None:
        """Note what is known once the training is set up: fixed inputs, device, library versions (plain JSON)."""

    def checkpoint_folder(self) -> Path | None:
        """Return a local copy of the newest checkpoint, or None when there is none."""

    def resumed(self, step: int) -> None:
        """Forget everything that was reported after `step`, because training goes on from there."""

    def steps(self, rows: Sequence[StepRow]) -> None:
        """Append rows; the first follows the last one received."""

    def snapshot(self, step: int, scores: Mapping[str, float], seconds: Mapping[str, float], files: Path) -> None:
        """Keep a snapshot of `step`.

        Args:
            step: optimizer steps done.
            scores: by measure.
            seconds: that drawing and scoring took, by the samples: "train" and "val" (see `settings.SAMPLES_OF`).
            files: a folder with the adapter and the samples.
        """

    def checkpoint(self, step: int, files: Path) -> None:
        """Replace the checkpoint by the files in `files`, all rows up to `step` having been received."""

    def ended(self, state: EndState, reason: str, trace: str = "") -> None:
        """Close: `complete` ran its budget, `stopped` by a criterion, `failed` by an error whose traceback is given."""
