"""Report: what a run says about itself while it trains; free of torch, so that a driver can read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: The name of L_det in `Report.metrics`.
L_DET = "l_det"

RunState = Literal["running", "complete", "stopped"]


@dataclass(frozen=True)
class Report:
    """What a run did since its last report; the stopper, the tracker and the progress display all read it.

    Attributes:
        step: optimizer steps done so far.
        first_step: 1-based number of the first step in `l_det`. It is 1 in the first report after a checkpoint, which
            repeats what the checkpoint held, so that no listener misses a value.
        l_det: the values from `first_step` on; NaN where L_det was not evaluated.
        state: "running", "complete" (the budget is used up) or "stopped" (by the criterion).
        metrics: the latest values by name: "l_det" if it was evaluated, "train_loss" and "grad_norm" of the last step,
            and the scores if a snapshot was recorded since the last report.
    """

    step: int
    first_step: int
    l_det: tuple[float, ...]
    state: RunState
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether the run is complete or stopped, so that no further report follows."""
        return self.state != "running"
