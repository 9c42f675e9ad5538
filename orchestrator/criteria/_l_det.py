"""LDetCriterion: what all criteria that watch L_det have in common, which is how L_det is evaluated for them."""

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, final

import numpy as np

from orchestrator.criteria.base import L_DET, Booleans, Condition, Criterion, Floats, check_at_least, check_count
from trainables.settings import PAPER, LDetSchedule


@dataclass(frozen=True, kw_only=True, repr=False)
class LDetCriterion(Criterion):
    """Watches L_det, evaluated by any schedule; what an evaluation decides holds until the next.

    A subclass is a dataclass with `frozen=True, repr=False`. It implements `check_settings`, and its rule twice, over
    evaluations: `holds_at_evaluations` and `evaluation_condition`. Its settings count steps; `evaluations_in` and
    `first_evaluation` turn them into evaluations.

    Attributes:
        stride: steps between two evaluations of L_det; the values between them are not looked at. A window still means
            steps: it holds the nearest whole number of evaluations.
        inputs: how many inputs of the fixed batch each evaluation takes, in turn; None takes all. See `LDetSchedule`.
        relative: whether each input's loss counts as a multiple of its loss before the first step.
        batch: whose inputs are evaluated: "paper", "stratified", "held_out" (images that are never trained on), or
            "gap" (held-out minus paper). See `LDetSchedule`.
        first_timestep: inputs with a lower timestep do not count, at least 0.

    Raises:
        ValueError: a setting is out of range, of another type, or there is no such batch.
    """

    series: ClassVar[str | None] = L_DET

    stride: int = 1
    inputs: int | None = None
    relative: bool = False
    batch: str = PAPER
    first_timestep: int = 0

    @final
    def __post_init__(self) -> None:
        # NumPy numbers become plain numbers, so that `repr` does not depend on who made the criterion.
        object.__setattr__(self, "stride", check_count("stride", self.stride))
        if self.inputs is not None:
            object.__setattr__(self, "inputs", check_count("inputs", self.inputs))
        if not isinstance(self.relative, bool):
            raise ValueError(f"relative must be true or false, got {self.relative!r}")
        if not isinstance(self.batch, str):
            raise ValueError(f"batch must be the name of a batch, got {self.batch!r}")
        object.__setattr__(self, "first_timestep", check_at_least("first_timestep", self.first_timestep, 0))
        schedule = LDetSchedule(self.stride, self.inputs, self.relative, self.batch, self.first_timestep)
        object.__setattr__(self, "l_det_schedule", schedule)
        self.check_settings()

    @abstractmethod
    def check_settings(self) -> None:
        """Check the criterion's own settings, and make plain numbers of NumPy's.

        Raises:
            ValueError: a setting is out of range, or not a number.
        """

    @abstractmethod
    def holds_at_evaluations(self, values: Floats) -> Booleans:
        """Return whether the condition holds after each evaluation, shape (evaluations,).

        Args:
            values: L_det at every evaluation, shape (evaluations,), finite.
        """

    @abstractmethod
    def evaluation_condition(self) -> Condition:
        """Return a fresh condition, which takes L_det evaluation by evaluation."""

    @final
    def holds(self, values: Floats) -> Booleans:
        """Return whether the condition holds after each step, shape (steps,); see `Criterion.holds`.

        Raises:
            ValueError: the values are too far from each other for the criterion's sums.
        """
        decided = self.holds_at_evaluations(values[self.stride - 1 :: self.stride])
        if self.stride == 1:
            return decided
        held = np.zeros(len(values), dtype=bool)
        after = held[self.stride - 1 :]  # the first evaluation follows step `stride`
        after[:] = np.repeat(decided, self.stride)[: len(after)]
        return held

    @final
    def condition(self) -> Condition:
        """Return a fresh condition, which sees every `stride`-th value."""
        condition = self.evaluation_condition()
        return condition if self.stride == 1 else Strided(condition, self.stride)

    @final
    def __repr__(self) -> str:
        # A criterion's own settings come first, though a dataclass lists its base's first.
        count = len(fields(LDetCriterion))
        ordered = fields(self)[count:] + fields(self)[:count]
        shown = [field for field in ordered if getattr(self, field.name) != field.default]
        return f"{type(self).__name__}({', '.join(f'{field.name}={getattr(self, field.name)!r}' for field in shown)})"

    def evaluations_in(self, steps: int) -> int:
        """Return the number of evaluations in a number of steps: the nearest whole number, halves rounded up."""
        return (2 * steps + self.stride) // (2 * self.stride)

    def first_evaluation(self, step: int) -> int:
        """Return the number, counted from 1, of the first evaluation at or after a step."""
        return -(-step // self.stride)

    def check_window_holds(self, window: int, least: int) -> None:
        """Check that a window holds enough evaluations.

        Args:
            window: in steps.
            least: number of evaluations that it must hold.

        Raises:
            ValueError: it holds fewer.
        """
        if self.evaluations_in(window) < least:
            evaluations = "1 evaluation" if least == 1 else f"{least} evaluations"
            raise ValueError(
                f"window must hold at least {evaluations}, got {window} steps at a stride of {self.stride}"
            )


class Strided:
    """A condition that looks at every k-th value only; its decision holds until the next of these.

    Args:
        condition: a fresh condition on every k-th value.
        stride: k.
    """

    def __init__(self, condition: Condition, stride: int) -> None:
        self._condition, self._stride, self._count, self._holds = condition, stride, 0, False

    def update(self, value: float) -> bool:
        """Take the next value, and look at it if it is a k-th value; see `Condition.update`."""
        self._count += 1
        if self._count % self._stride == 0:
            self._holds = self._condition.update(value)
        return self._holds
