"""Level: L_det's moving average has fallen to a given share of the base model's loss."""

from dataclasses import dataclass, field

from orchestrator.criteria._l_det import LDetCriterion
from orchestrator.criteria.base import Booleans, Condition, Floats, check_positive
from orchestrator.criteria.ema import moving_averages, next_average, weight_of


@dataclass(frozen=True, repr=False)
class Level(LDetCriterion):
    """Stops when the moving average of L_det < threshold.

    The average is that of `EMA`. By default L_det is relative to the base model's loss, and leaves out the timesteps
    below 250, whose losses hardly depend on the concept. A concept that is learned twice as fast then stops about twice
    as early. The threshold differs between methods, and a run with a single image reaches it too soon.

    Example:
        >>> Level(threshold=0.7).first_stop([0.9**step for step in range(30)])
        11

    Attributes:
        threshold: of the average, above 0; a share of the base model's loss where L_det is relative, else a loss.
        stride, inputs, relative, batch, first_timestep: how L_det is evaluated; see `LDetCriterion`. Here, `relative`
            is true and `first_timestep` 250 unless they are given.

    Raises:
        ValueError: a setting is out of range, or not a number.
    """

    threshold: float
    relative: bool = field(default=True, kw_only=True)
    first_timestep: int = field(default=250, kw_only=True)

    def check_settings(self) -> None:
        """Check the threshold."""
        object.__setattr__(self, "threshold", check_positive("threshold", self.threshold))

    def holds_at_evaluations(self, values: Floats) -> Booleans:
        """Return where the average is below the threshold. Linear in the number of values."""
        below: Booleans = moving_averages(values, weight_of(self.stride)) < self.threshold
        return below

    def evaluation_condition(self) -> Condition:
        """Return a fresh condition that remembers the average."""
        return _LevelCondition(self.threshold, weight_of(self.stride))


class _LevelCondition:
    def __init__(self, threshold: float, weight: float) -> None:
        self._threshold, self._weight = threshold, weight
        self._average: float | None = None

    def update(self, value: float) -> bool:
        value = float(value)
        self._average = value if self._average is None else next_average(self._average, value, self._weight)
        return self._average < self._threshold
