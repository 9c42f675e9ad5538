"""A measured value of the miniature beside the target that it should reach."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A measured value and its target.

    Attributes:
        name: what was measured.
        value: the measurement.
        target: the least acceptable value, or the greatest where `is_ceiling`.
        is_ceiling: whether lower is better.
    """

    name: str
    value: float
    target: float
    is_ceiling: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the value reaches the target."""
        return self.value <= self.target if self.is_ceiling else self.value >= self.target

    def __str__(self) -> str:
        sign = "<=" if self.is_ceiling else ">="
        return f"{self.name:66s} {self.value:8.3f}   {sign} {self.target:<6g} {'met' if self.is_met else 'MISSED'}"
