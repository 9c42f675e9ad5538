"""Combinators: criteria made of criteria, all of which watch the same series."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from orchestrator.criteria.base import L_DET, Booleans, Condition, Criterion, Floats, check_count
from orchestrator.criteria.never import Never
from trainables.settings import LDetSchedule


def _adopt(outer: Criterion, criteria: Sequence[Criterion]) -> None:
    """Let a combinator watch what the criteria inside it watch.

    Raises:
        ValueError: there are no criteria, an argument is not a criterion, or they watch different series.
    """
    name = type(outer).__name__
    if not criteria:
        raise ValueError(f"{name} needs at least one criterion")
    for criterion in criteria:
        if not isinstance(criterion, Criterion):
            raise ValueError(f"{name} takes criteria, got {criterion!r}")
    watchers = {criterion.series: criterion for criterion in criteria if criterion.series is not None}
    if len(watchers) > 1:
        listed = ", ".join(f"{criterion!r} watches {series}" for series, criterion in watchers.items())
        raise ValueError(f"{name} needs criteria that watch the same series: {listed}")
    counting = [criterion for criterion in criteria if criterion.series is None and not isinstance(criterion, Never)]
    if counting and not {None, L_DET} >= watchers.keys():
        raise ValueError(
            f"{name}: {counting[0]!r} counts steps, and {next(iter(watchers.values()))!r} watches snapshots"
        )
    # These are no fields of the frozen dataclass: they follow from the criteria, which are.
    object.__setattr__(outer, "series", next(iter(watchers), None))
    object.__setattr__(outer, "keeps_best", any(criterion.keeps_best for criterion in criteria))
    watching = [criterion for criterion in criteria if criterion.needs_l_det]
    object.__setattr__(outer, "l_det_schedule", _common_schedule(watching))


def _common_schedule(criteria: Sequence[Criterion]) -> LDetSchedule:
    """Return a schedule of L_det that serves several criteria.

    Raises:
        ValueError: no schedule serves all of them.
    """
    by_schedule = {criterion.l_det_schedule: criterion for criterion in criteria}
    if len(by_schedule) < 2:
        return next(iter(by_schedule), LDetSchedule())
    every = math.gcd(*(schedule.every for schedule in by_schedule))
    common = {replace(schedule, every=every) for schedule in by_schedule}
    if len(common) > 1 or any(schedule.inputs for schedule in common):
        listed = " and ".join(repr(criterion) for criterion in by_schedule.values())
        raise ValueError(f"{listed} evaluate L_det in ways that do not go together")
    return common.pop()


@dataclass(frozen=True)
class Patient(Criterion):
    """Stops when a criterion's condition has held for several values in a row.

    Example:
        >>> from orchestrator.criteria import DVAR
        >>> Patient(DVAR(window=3, threshold=0.15), times=2).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.9])
        6

    Attributes:
        criterion: whose condition must hold.
        times: number of values in a row, at least 1.

    Raises:
        ValueError: `criterion` is not a criterion, or `times` is out of range.
    """

    criterion: Criterion
    times: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", check_count("times", self.times))
        _adopt(self, [self.criterion])

    def holds(self, values: Floats) -> Booleans:
        """Return where the condition has held for `times` values in a row."""
        held = self.criterion.holds(values)
        index = np.arange(1, len(held) + 1)
        last_failure = np.maximum.accumulate(np.where(held, 0, index)) if len(held) else index
        return index - last_failure >= self.times

    def for_images(self, images: int) -> Criterion:
        """Return the combination of what the criterion is for a number of training images."""
        return replace(self, criterion=self.criterion.for_images(images))

    def condition(self) -> Condition:
        """Return a fresh condition, around a fresh condition of the criterion."""
        return _PatientCondition(self.criterion.condition(), self.times)


class _PatientCondition:
    def __init__(self, condition: Condition, times: int) -> None:
        self._condition, self._times, self._run = condition, times, 0

    def update(self, value: float) -> bool:
        self._run = self._run + 1 if self._condition.update(value) else 0
        return self._run >= self._times


@dataclass(frozen=True, init=False, repr=False)
class _Joined(Criterion):
    """Joins the conditions of several criteria, value by value."""

    criteria: tuple[Criterion, ...]

    joins: ClassVar[np.ufunc]

    def __init__(self, *criteria: Criterion) -> None:
        object.__setattr__(self, "criteria", criteria)
        _adopt(self, criteria)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.criteria))})"

    def holds(self, values: Floats) -> Booleans:
        """Return where the joined conditions hold."""
        held: Booleans = self.joins.reduce([criterion.holds(values) for criterion in self.criteria])
        return held

    def for_images(self, images: int) -> Criterion:
        """Return the combination of what the criteria are for a number of training images."""
        return type(self)(*(criterion.for_images(images) for criterion in self.criteria))

    def condition(self) -> Condition:
        """Return a fresh condition, around a fresh condition of each criterion."""
        return _JoinedCondition([criterion.condition() for criterion in self.criteria], self.joins)


class _JoinedCondition:
    def __init__(self, conditions: Sequence[Condition], joins: np.ufunc) -> None:
        self._conditions, self._joins = list(conditions), joins

    def update(self, value: float) -> bool:
        return bool(self._joins.reduce([condition.update(value) for condition in self._conditions]))


class All(_Joined):
    """Stops when the conditions of all criteria hold at the same value.

    Example:
        >>> from orchestrator.criteria import DVAR, FewIterations
        >>> All(DVAR(window=3, threshold=0.15), FewIterations(7)).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.9])
        7

    Attributes:
        criteria: at least one; those that watch a series all watch the same.

    Raises:
        ValueError: there are no criteria, an argument is not a criterion, or they watch different series.
    """

    joins: ClassVar[np.ufunc] = np.logical_and


class Any(_Joined):
    """Stops when the condition of any of the criteria holds.

    Example:
        >>> from orchestrator.criteria import DVAR, FewIterations
        >>> Any(DVAR(window=3, threshold=0.15), FewIterations(5)).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.9])
        5

    Attributes:
        criteria: at least one; those that watch a series all watch the same.

    Raises:
        ValueError: there are no criteria, an argument is not a criterion, or they watch different series.
    """

    joins: ClassVar[np.ufunc] = np.logical_or


@dataclass(frozen=True)
class NotBefore(Criterion):
    """Stops when a criterion's condition holds, but not before a given number of values.

    Example:
        >>> from orchestrator.criteria import DVAR
        >>> NotBefore(DVAR(window=3, threshold=0.15), step=7).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.9])
        7

    Attributes:
        criterion: whose condition must hold.
        step: the first value at which it may stop, at least 1; a value is a step where the criterion watches L_det.

    Raises:
        ValueError: `criterion` is not a criterion, or `step` is out of range.
    """

    criterion: Criterion
    step: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", check_count("step", self.step))
        _adopt(self, [self.criterion])

    def holds(self, values: Floats) -> Booleans:
        """Return where the criterion's condition holds from value `step` on."""
        return self.criterion.holds(values) & (np.arange(1, len(values) + 1) >= self.step)

    def for_images(self, images: int) -> Criterion:
        """Return the combination of what the criterion is for a number of training images."""
        return replace(self, criterion=self.criterion.for_images(images))

    def condition(self) -> Condition:
        """Return a fresh condition, around a fresh condition of the criterion."""
        return _NotBeforeCondition(self.criterion.condition(), self.step)


class _NotBeforeCondition:
    def __init__(self, condition: Condition, step: int) -> None:
        self._condition, self._step, self._count = condition, step, 0

    def update(self, value: float) -> bool:
        self._count += 1
        return self._condition.update(value) and self._count >= self._step
