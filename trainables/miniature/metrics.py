"""Metric: what was measured of the miniature, with its target."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One measured value and what it should reach.

    Attributes:
        name: what was measured.
        value: the measurement.
        target: what it should be at least, or at most where `is_ceiling`.
        is_ceiling: whether less is better.
    """

    name: str
    value: float
    target: float
    is_ceiling: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        return self.value <= self.target if self.is_ceiling else self.value >= self.target

    def __str__(self) -> str:
        sign = "<=" if self.is_ceiling else ">="
        return f"{self.name:66s} {self.value:8.3f}   {sign} {self.target:<6g} {'met' if self.is_met else 'MISSED'}"
