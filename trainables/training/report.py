"""Report: what a run tells whoever follows it while it trains; free of torch, so that a driver reads it as well."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

RunState = Literal["running", "complete", "stopped"]


@dataclass(frozen=True)
class Report:
    """What one run did since its last report; stopper, tracker and progress display read the same one.

    Attributes:
        step: optimizer steps done so far.
        first_step: number of the first step of `l_det`; 1 in the first report of a run that went on from a checkpoint,
            which repeats what the checkpoint held, so that whoever listens never misses a value.
        l_det: the values from `first_step` on; NaN where L_det was not evaluated.
        state: "running", "complete" (the budget is used up) or "stopped" (by the criterion).
        metrics: the latest values by name: "l_det" where it was evaluated, "train_loss" and "grad_norm" of the last
            step, and the scores of a snapshot that was taken since the last report.
    """

    step: int
    first_step: int
    l_det: tuple[float, ...]
    state: RunState
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether the run does no further step."""
        return self.state != "running"
