"""The range of the patience with L_det, and its default."""

from search_spaces.base import NOTHING_FIXED, Fixed, Ranges
from search_spaces.defaults import MethodDefaults
from search_spaces.families import Member, geometric, members, tidy, window_of
from search_spaces.windows import windows


def space(budget: int, fixed: Fixed = NOTHING_FIXED) -> Ranges:
    """Return the range of "window" in steps; see `search_spaces.windows.windows`."""
    return {"window": windows(budget, fixed, 1)}


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return a window of a tenth of the budget, a common choice of those who stop early."""
    return {"window": window_of(budget, NOTHING_FIXED, 1, 0.1)}


def family(budget: int, fixed: Fixed = NOTHING_FIXED) -> list[Member]:
    """Return windows from long to short over the whole range.

    Raises:
        ValueError: the window is fixed, or the budget is too small to search in, or too small for a fixed stride.
    """
    allowed = windows(budget, fixed, 1)
    inner = {int(tidy(round(window))) for window in geometric(allowed.low, allowed.high, 200)}
    between = {window for window in inner if allowed.low < window < allowed.high}
    return members("window", sorted({allowed.low, allowed.high, *between}, reverse=True), fixed)
