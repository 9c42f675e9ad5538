"""Recording: what a full-length or stopped personalization run measured, as plain arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.recordings.identity import RunIdentity
from search_spaces.defaults import MethodDefaults
from trainables.errors import InvalidInput
from trainables.l_det import InputColumns
from trainables.settings import MINIATURE, PAPER, SAMPLES_OF, LDetSchedule
from trainables.types import JsonObject

State = Literal["running", "complete", "stopped", "failed"]
#: The states of a finished run: it has used its budget, or its criterion has stopped it.
DONE: frozenset[State | None] = frozenset({"complete", "stopped"})

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """The steps table: row k-1 holds optimizer step k.

    Attributes:
        l_det: deterministic loss after each step, shape (steps,); NaN where a stopped run did not evaluate it.
        train_loss: the method's own loss on its training batch, shape (steps,).
        grad_norm: norm of the gradient of the trained parameters, shape (steps,).
        seconds: time of each training step without L_det, shape (steps,).
        l_det_seconds: time of each evaluation of L_det, shape (steps,); in a full-length run that of the paper's batch.
        input_losses: loss of every input of every batch, shape (steps, inputs), NaN likewise; `Recording.inputs` says
            which column is whose. In a full-length run `l_det` is the mean of the paper's.
    """

    l_det: Floats
    train_loss: Floats
    grad_norm: Floats
    seconds: Floats
    l_det_seconds: Floats
    input_losses: Floats

    def __len__(self) -> int:
        return len(self.l_det)


@dataclass(frozen=True)
class Quality:
    """The quality table: a row per snapshot, in the order of steps; step 0 is the untrained start.

    Attributes:
        steps: optimizer steps done when the snapshot was taken, shape (snapshots,).
        scores: metric (such as "train_clip_image") to its values, shape (snapshots,) each; higher is better.
        seconds: time that sampling and scoring took, shape (snapshots,).
        samples_seconds: `seconds` split by samples ("train", "val"), shape (snapshots,) each; empty, or only "all",
            if they were not measured separately.
        repeated_scores: metric to the scores of further samples of the last snapshot, with other starting noise, shape
            (repeats,) each; empty if none were drawn.
    """

    steps: NDArray[np.int64]
    scores: Mapping[str, Floats]
    seconds: Floats
    samples_seconds: Mapping[str, Floats] = field(default_factory=dict)
    repeated_scores: Mapping[str, Floats] = field(default_factory=dict)

    def seconds_of(self, metric: str) -> Floats:
        """Return the time that a metric's samples took, or all samples if that is unknown; shape (snapshots,)."""
        return self.samples_seconds.get(SAMPLES_OF.get(metric, ""), self.seconds)


@dataclass(frozen=True)
class Recording:
    """A run, as far as it was recorded.

    Attributes:
        identity: what determines the run.
        facts: facts of the run once it was set up (fixed inputs, device, versions).
        state: "running", "complete" (used the full budget), "stopped" (by a criterion) or "failed".
        reason: why it ended; empty while it runs.
        steps: the steps table.
        quality: the quality table.
    """

    identity: RunIdentity
    facts: JsonObject
    state: State
    reason: str
    steps: Steps
    quality: Quality

    @property
    def key(self) -> str:
        """Name of the recording: a hash of what determines the run."""
        return self.identity.key

    @property
    def concept(self) -> str:
        """Name of the concept that was personalized."""
        return self.identity.concept

    @property
    def is_of_the_miniature(self) -> bool:
        """Whether the embedded miniature was personalized; the recording then says nothing about other models."""
        return self.identity.base_model == MINIATURE

    @property
    def budget(self) -> int:
        """Optimizer steps of a full-length run."""
        return self.identity.budget

    @property
    def inputs(self) -> InputColumns:
        """The batch and timestep of every column of `steps.input_losses`.

        Recordings of earlier versions have the paper's batch alone.
        """
        return input_columns(self.facts, self.steps.input_losses.shape[1])

    def has_batch(self, name: str) -> bool:
        """Whether the losses of a batch were recorded; of "gap", those of both of its batches."""
        recorded = self.inputs.batches
        return all(batch in recorded for batch in LDetSchedule(batch=name).batches)

    def losses_of(self, batch: str) -> Floats:
        """Return the losses of a batch's inputs, shape (steps, inputs), NaN where not evaluated; empty if lacking."""
        # Contiguous rows, so that NumPy adds each in the order in which it adds a row alone.
        return np.ascontiguousarray(self.steps.input_losses[:, self.inputs.of(batch)])

    @property
    def method_defaults(self) -> MethodDefaults | None:
        """DVAR's setting as the method states it; None where the recording holds none.

        Raises:
            InvalidInput: the recording holds one that is not understood.
        """
        stated = self.facts.get("usual")
        if not isinstance(stated, Mapping):
            return None
        try:
            return MethodDefaults(stated["budget"], stated["window"], stated["threshold"])
        except (KeyError, ValueError) as error:
            raise InvalidInput(
                f"recording of {self.concept!r} ({self.key}) holds a method's setting that is not understood, "
                f"{dict(stated)!r}: {error}; record it again"
            ) from error


def input_columns(facts: JsonObject, count: int) -> InputColumns:
    """Return the batch and timestep of `count` inputs; without a description of each, all are the paper's."""
    described = facts.get("fixed_inputs") or []
    if len(described) != count:
        return InputColumns((PAPER,) * count, (None,) * count)
    return InputColumns(
        tuple(about.get("batch", PAPER) for about in described),
        tuple(about.get("timestep") for about in described),
    )
