"""RunConfig: what the runs of one experiment have in common, and what a run needs of a stopping criterion."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from trainables.errors import InvalidInput
from trainables.settings import BaseModelSettings, FixedBatchSettings, LDetSchedule, QualitySettings

if TYPE_CHECKING:
    from trainables.methods.base import Method


class OnlineCriterion(Protocol):
    """A stopping criterion at work on one run."""

    def update(self, value: float) -> bool:
        """Take the next L_det, NaN where it was not evaluated; return whether to stop now."""


class StoppingCriterion(Protocol):
    """What a run needs of a criterion."""

    @property
    def l_det_schedule(self) -> LDetSchedule:
        """How often L_det is evaluated for it, and on how many inputs."""

    @property
    def needs_l_det(self) -> bool:
        """Whether it looks at L_det at all."""

    def online(self) -> OnlineCriterion:
        """Return a fresh criterion at work."""


@dataclass(frozen=True)
class RunConfig:
    """What the runs of one experiment have in common; it travels to the workers.

    Attributes:
        base_model: what is personalized.
        method: makes a method with its settings.
        budget: optimizer steps at most.
        seed: of training.
        fixed_batch: how L_det's inputs are drawn; None never evaluates it.
        l_det_schedule: how often L_det is evaluated, and on how many inputs.
        quality: how samples are scored; None takes no samples.
        criterion: makes a fresh criterion; None runs the whole budget.
        report_steps: optimizer steps per report at most; None leaves it to `report_seconds`.
        report_seconds: time after which a report is due.
        checkpoint_seconds: time after which a checkpoint is due, longer where writing one takes long; 0 writes one
            with every report.
    """

    base_model: BaseModelSettings
    method: Callable[[], "Method"]
    budget: int
    seed: int = 0
    fixed_batch: FixedBatchSettings | None = field(default_factory=FixedBatchSettings)
    l_det_schedule: LDetSchedule = field(default_factory=LDetSchedule)
    quality: QualitySettings | None = None
    criterion: Callable[[], OnlineCriterion] | None = None
    report_steps: int | None = None
    report_seconds: float = 1.0
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise InvalidInput(f"budget must be at least 1 step, got {self.budget}")
        if self.report_steps is not None and self.report_steps < 1:
            raise InvalidInput(f"report_steps must be at least 1, got {self.report_steps}")

    def under(self, criterion: StoppingCriterion | None) -> "RunConfig":
        """Return the config of a run that a criterion may stop, and that evaluates no more of L_det than it needs."""
        if criterion is None:
            return self
        fixed_batch = self.fixed_batch if criterion.needs_l_det else None
        return replace(
            self, criterion=criterion.online, l_det_schedule=criterion.l_det_schedule, fixed_batch=fixed_batch
        )
