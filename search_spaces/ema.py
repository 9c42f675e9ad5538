"""The ranges of the EMA percentile's window and threshold (appendix E), and its default parameters."""

from search_spaces.base import NOTHING_FIXED, Fixed, Ranges
from search_spaces.defaults import MethodDefaults
from search_spaces.families import Member, geometric, threshold_family
from search_spaces.windows import windowed_setting, windowed_space

THRESHOLDS = (1e-6, 1e-1)  # of the average's relative change over the window


def space(budget: int, fixed: Fixed = NOTHING_FIXED) -> Ranges:
    """Return the ranges of "window" and "threshold"; see `search_spaces.windows.windowed_space`."""
    return windowed_space(budget, THRESHOLDS, fixed, 1)


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return DVAR's window and a threshold inside the range, because the paper gives none for this criterion."""
    return windowed_setting(method, budget, defaults, 1e-3)


def family(budget: int, fixed: Fixed = NOTHING_FIXED) -> list[Member]:
    """Return thresholds over the whole range at a window of a fifth of the budget: a small one stops late.

    Raises:
        ValueError: the threshold is fixed, or the budget is too small to search in.
    """
    return threshold_family(budget, fixed, geometric(*THRESHOLDS), least=1)
