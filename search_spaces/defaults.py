"""MethodDefaults: DVAR's default parameters, as stated by a personalization method or by the paper for it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class MethodDefaults:
    """Where the search of DVAR begins for a method.

    Attributes:
        budget: optimizer steps of a full-length run, for which the window is meant.
        window: N, in steps.
        threshold: alpha.
    """

    budget: int
    window: int
    threshold: float

    @classmethod
    def from_json(cls, fields: object) -> "MethodDefaults | None":
        """Return the defaults in a recording's facts; None if they are missing or incomplete."""
        if not isinstance(fields, Mapping):
            return None
        budget, window, threshold = (fields.get(name) for name in ("budget", "window", "threshold"))
        if not isinstance(budget, int) or not isinstance(window, int) or not isinstance(threshold, int | float):
            return None
        return cls(budget, window, float(threshold)) if budget > 0 else None
