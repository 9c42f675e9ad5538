"""Combinators: criteria made of criteria that watch the same series."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from orchestrator.criteria.base import L_DET, Booleans, Condition, Criterion, Floats, check_count
from orchestrator.criteria.never import Never
from trainables.settings import LDetSchedule


def _adopt(outer: Criterion, rules: Sequence[Criterion]) -> None:
    """Set what a combinator watches to what its criteria watch, as attributes of the frozen dataclass.

    Raises:
        ValueError: there is no criterion, an argument is not a criterion, or the criteria watch different series.
    """
    name = type(outer).__name__
    if not rules:
        raise ValueError(f"{name} needs at least one criterion")
    for rule in rules:
        if not isinstance(rule, Criterion):
            raise ValueError(f"{name} takes criteria, got {rule!r}")
    watched = {rule.series: rule for rule in rules if rule.series is not None}
    if len(watched) > 1:
        listed = ", ".join(f"{rule!r} watches {series}" for series, rule in watched.items())
        raise ValueError(f"{name} needs criteria that watch the same series, but {listed}")
    counting = [rule for rule in rules if rule.series is None and not isinstance(rule, Never)]
    if counting and not {None, L_DET} >= watched.keys():
        raise ValueError(
            f"{name}: {counting[0]!r} counts steps, but {next(iter(watched.values()))!r} watches snapshots"
        )
    object.__setattr__(outer, "series", next(iter(watched), None))
    object.__setattr__(outer, "keeps_best", any(rule.keeps_best for rule in rules))
    object.__setattr__(outer, "l_det_schedule", _common([rule for rule in rules if rule.needs_l_det]))


def _common(rules: Sequence[Criterion]) -> LDetSchedule:
    """Return the evaluation of L_det that serves several criteria.

    Raises:
        ValueError: the criteria need incompatible evaluations.
    """
    wanted = {rule.l_det_schedule: rule for rule in rules}
    if len(wanted) < 2:
        return next(iter(wanted), LDetSchedule())
    if len({schedule.relative for schedule in wanted}) > 1 or any(schedule.inputs for schedule in wanted):
        listed = " and ".join(repr(rule) for rule in wanted.values())
        raise ValueError(f"{listed} evaluate L_det in incompatible ways")
    every = math.gcd(*(schedule.every for schedule in wanted))
    return LDetSchedule(every, relative=next(iter(wanted)).relative)


@dataclass(frozen=True)
class Patient(Criterion):
    """Stops when a criterion's condition has held for `times` consecutive values.

    Example:
        >>> from orchestrator.criteria import DVAR
        >>> Patient(DVAR(window=3, threshold=0.15), times=2).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.9])
        6

    Attributes:
        rule: the criterion whose condition must hold.
        times: number of consecutive values, at least 1.

    Raises:
        ValueError: `rule` is not a criterion, or `times` is out of range.
    """

    rule: Criterion
    times: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", check_count("times", self.times))
        _adopt(self, [self.rule])

    def holds(self, values: Floats) -> Booleans:
        """Return where the criterion's condition has held for the last `times` values."""
        held = self.rule.holds(values)
        index = np.arange(1, len(held) + 1)
        last_failure = np.maximum.accumulate(np.where(held, 0, index)) if len(held) else index
        return index - last_failure >= self.times

    def condition(self) -> Condition:
        """Return a fresh condition that counts consecutive values."""
        return _PatientCondition(self.rule.condition(), self.times)


class _PatientCondition:
    def __init__(self, condition: Condition, times: int) -> None:
        self._condition, self._times, self._run = condition, times, 0

    def update(self, value: float) -> bool:
        self._run = self._run + 1 if self._condition.update(value) else 0
        return self._run >= self._times


@dataclass(frozen=True, init=False, repr=False)
class _Several(Criterion):
    """Joins the conditions of several criteria, value by value."""

    rules: tuple[Criterion, ...]

    joins: ClassVar[np.ufunc]

    def __init__(self, *rules: Criterion) -> None:
        object.__setattr__(self, "rules", rules)
        _adopt(self, rules)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.rules))})"

    def holds(self, values: Floats) -> Booleans:
        """Return where the joined conditions of the criteria hold."""
        held: Booleans = self.joins.reduce([rule.holds(values) for rule in self.rules])
        return held

    def condition(self) -> Condition:
        """Return a fresh condition that joins those of the criteria."""
        return _SeveralCondition([rule.condition() for rule in self.rules], self.joins)


class _SeveralCondition:
    def __init__(self, conditions: Sequence[Condition], joins: np.ufunc) -> None:
        self._conditions, self._joins = list(conditions), joins

    def update(self, value: float) -> bool:
        return bool(self._joins.reduce([condition.update(value) for condition in self._conditions]))


class All(_Several):
    """Stops when the conditions of all criteria hold at once.

    Example:
        >>> from orchestrator.criteria import DVAR, FewIterations
        >>> All(DVAR(window=3, threshold=0.15), FewIterations(7)).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.9])
        7

    Attributes:
        rules: the criteria, at least one; those that watch anything must watch the same series.

    Raises:
        ValueError: there is no criterion, an argument is not a criterion, or the criteria watch different series.
    """

    joins: ClassVar[np.ufunc] = np.logical_and


class Any(_Several):
    """Stops when the condition of any criterion holds.

    Example:
        >>> from orchestrator.criteria import DVAR, FewIterations
        >>> Any(DVAR(window=3, threshold=0.15), FewIterations(5)).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.9])
        5

    Attributes:
        rules: the criteria, at least one; those that watch anything must watch the same series.

    Raises:
        ValueError: there is no criterion, an argument is not a criterion, or the criteria watch different series.
    """

    joins: ClassVar[np.ufunc] = np.logical_or


@dataclass(frozen=True)
class NotBefore(Criterion):
    """Stops when a criterion's condition holds, but not before value number `step`.

    Example:
        >>> from orchestrator.criteria import DVAR
        >>> NotBefore(DVAR(window=3, threshold=0.15), step=7).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.9])
        7

    Attributes:
        rule: the criterion whose condition must hold.
        step: number of the first value at which it may stop, at least 1; values are steps if `rule` watches L_det.

    Raises:
        ValueError: `rule` is not a criterion, or `step` is out of range.
    """

    rule: Criterion
    step: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", check_count("step", self.step))
        _adopt(self, [self.rule])

    def holds(self, values: Floats) -> Booleans:
        """Return where the criterion's condition holds, from value number `step` on."""
        return self.rule.holds(values) & (np.arange(1, len(values) + 1) >= self.step)

    def condition(self) -> Condition:
        """Return a fresh condition that holds from value number `step` on."""
        return _NotBeforeCondition(self.rule.condition(), self.step)


class _NotBeforeCondition:
    def __init__(self, condition: Condition, step: int) -> None:
        self._condition, self._step, self._count = condition, step, 0

    def update(self, value: float) -> bool:
        self._count += 1
        return self._condition.update(value) and self._count >= self._step
