"""MethodDefaults: DVAR's default setting for a personalization method, and the budget that it is meant for."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class MethodDefaults:
    """DVAR's setting for a method, as the paper or the method itself states it.

    Example:
        >>> MethodDefaults(budget=6100, window=310, threshold=0.15)
        MethodDefaults(budget=6100, window=310, threshold=0.15)

    Attributes:
        budget: optimizer steps of the full-length run that the setting is meant for, at least 1.
        window: N (section 3.3), in steps of that budget, at least 1.
        threshold: alpha (section 3.3), above 0.

    Raises:
        ValueError: a value is out of range, or not a number.
    """

    budget: int
    window: int
    threshold: float

    def __post_init__(self) -> None:
        for name in ("budget", "window"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        threshold = self.threshold
        if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 < threshold < math.inf:
            raise ValueError(f"threshold must be a number above 0, got {threshold!r}")
