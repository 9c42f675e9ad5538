"""The ranges of Trend's window and threshold (appendix E), and its default parameters."""

from search_spaces.base import NOTHING_FIXED, Fixed, Ranges
from search_spaces.defaults import MethodDefaults
from search_spaces.families import Member, geometric, threshold_family
from search_spaces.windows import windowed_setting, windowed_space

THRESHOLDS = (1e-9, 1e-3)  # of the slope, in loss per step


def space(budget: int, fixed: Fixed = NOTHING_FIXED) -> Ranges:
    """Return the ranges of "window" and "threshold"; see `search_spaces.windows.windowed_space`."""
    return windowed_space(budget, THRESHOLDS, fixed)


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return DVAR's window and a threshold in the middle of the range, because the paper gives none."""
    return windowed_setting(method, budget, defaults, 1e-6)


def family(budget: int, fixed: Fixed = NOTHING_FIXED) -> list[Member]:
    """Return thresholds over the whole range at a window of a fifth of the budget: a small one stops late.

    Raises:
        ValueError: the threshold is fixed, or the budget is too small to search in.
    """
    return threshold_family(budget, fixed, geometric(*THRESHOLDS))
