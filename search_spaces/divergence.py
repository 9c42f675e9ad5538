"""The ranges of Divergence's window and threshold, and its default parameters."""

from search_spaces.base import NOTHING_FIXED, Fixed, Ranges
from search_spaces.defaults import MethodDefaults
from search_spaces.families import Member, geometric, threshold_family
from search_spaces.windows import windowed_setting, windowed_space

THRESHOLDS = (0.001, 1.0)  # of the base model's loss


def space(budget: int, fixed: Fixed = NOTHING_FIXED) -> Ranges:
    """Return the ranges of "window" and "threshold"; see `search_spaces.windows.windowed_space`."""
    return windowed_space(budget, THRESHOLDS, fixed, 1)


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return DVAR's window and a gap of a twentieth of the base model's loss."""
    return windowed_setting(method, budget, defaults, 0.05)


def family(budget: int, fixed: Fixed = NOTHING_FIXED) -> list[Member]:
    """Return thresholds from large to small at a window of 5 % of the budget: a large one stops late.

    Raises:
        ValueError: the threshold is fixed, or the budget is too small to search in.
    """
    return threshold_family(budget, fixed, geometric(*THRESHOLDS)[::-1], least=1, share=0.05)
