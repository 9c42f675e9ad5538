"""RunConfig: what the runs of an experiment have in common, and what a run needs from a stopping criterion."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from trainables.errors import InvalidInput
from trainables.settings import (
    HELD_OUT,
    PAPER,
    STRATIFIED,
    BaseModelSettings,
    FixedBatchSettings,
    HeldOutSettings,
    LDetSchedule,
    QualitySettings,
    StratifiedBatchSettings,
)

if TYPE_CHECKING:
    from trainables.methods.base import Method


class OnlineCriterion(Protocol):
    """A stopping criterion at work on a single run."""

    def update(self, value: float) -> bool:
        """Take the next step's L_det, NaN if it was not evaluated; return whether to stop now."""


class StoppingCriterion(Protocol):
    """What a run needs from a criterion."""

    @property
    def l_det_schedule(self) -> LDetSchedule:
        """How often L_det is evaluated for it, and on how many inputs."""

    @property
    def needs_l_det(self) -> bool:
        """Whether it looks at L_det at all."""

    def online(self) -> OnlineCriterion:
        """Return a criterion at work that has seen no value yet."""


@dataclass(frozen=True)
class RunConfig:
    """What the runs of an experiment have in common; it travels to the workers.

    Attributes:
        base_model: the model that is personalized.
        method: makes a method with its settings.
        budget: optimizer steps at most.
        seed: of training.
        fixed_batch: how the paper's batch of L_det's inputs is drawn; None does without.
        stratified_batch: how the stratified batch is drawn; None does without.
        held_out: how the batch of held-out images is drawn; None does without.
        l_det_schedule: how often L_det is evaluated, on which batch, and on how many inputs.
        quality: how samples are scored; None takes no samples.
        criterion: makes a criterion at work; None runs the whole budget.
        report_steps: optimizer steps per report at most; None leaves it to `report_seconds`.
        report_seconds: time after which a report is due.
        checkpoint_seconds: time after which a checkpoint is due, longer if writing takes long; 0 writes a checkpoint
            with every report.
    """

    base_model: BaseModelSettings
    method: Callable[[], "Method"]
    budget: int
    seed: int = 0
    fixed_batch: FixedBatchSettings | None = field(default_factory=FixedBatchSettings)
    stratified_batch: StratifiedBatchSettings | None = None
    held_out: HeldOutSettings | None = None
    l_det_schedule: LDetSchedule = field(default_factory=LDetSchedule)
    quality: QualitySettings | None = None
    criterion: Callable[[], OnlineCriterion] | None = None
    report_steps: int | None = None
    report_seconds: float = 1.0
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Check the numbers of steps.

        Raises:
            InvalidInput: `budget` or `report_steps` is below 1.
        """
        if self.budget < 1:
            raise InvalidInput(f"budget must be at least 1 step, got {self.budget}")
        if self.report_steps is not None and self.report_steps < 1:
            raise InvalidInput(f"report_steps must be at least 1, got {self.report_steps}")

    def under(self, criterion: StoppingCriterion | None) -> "RunConfig":
        """Return the config of a run that a criterion may stop, and that evaluates L_det only as far as it needs it."""
        if criterion is None:
            return self
        needed = criterion.l_det_schedule.batches if criterion.needs_l_det else ()
        return replace(
            self,
            criterion=criterion.online,
            l_det_schedule=criterion.l_det_schedule,
            fixed_batch=self.fixed_batch if PAPER in needed else None,
            stratified_batch=self.stratified_batch if STRATIFIED in needed else None,
            held_out=self.held_out if HELD_OUT in needed else None,
        )
