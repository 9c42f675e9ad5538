"""Families: settings of a criterion that differ in a single parameter, ordered from the latest stop to the earliest."""

import math
from collections.abc import Sequence

from search_spaces.base import Fixed
from search_spaces.windows import check_budget, windows

Member = dict[str, float | int]

#: At most so many members: finer steps say nothing.
MOST = 400
#: The share of the budget that is the window of a family whose thresholds differ (for DVAR, the best of .06, .125, .2).
WINDOW_SHARE = 0.2
#: The share of the budget before which rules that scale with the run do not stop.
BEGIN_SHARE = 0.03


def tidy(value: float) -> float:
    """Return a number with four digits: further ones say nothing.

    Example:
        >>> tidy(0.123456)
        0.1235
    """
    return float(f"{value:.4g}")


def geometric(low: float, high: float, count: int = 100) -> list[float]:
    """Return numbers from `low` to `high` at equal ratios, ascending, both ends included, each tidy and once.

    Example:
        >>> geometric(0.01, 1.0, 3)
        [0.01, 0.1, 1.0]

    Args:
        low: above 0.
        high: at least `low`.
        count: of numbers, at least 2.
    """
    ratio = math.log(high / low) / (count - 1)
    inner = [tidy(low * math.exp(index * ratio)) for index in range(1, count - 1)]
    return sorted({low, high, *inner})


def hundredths(low: float, high: float) -> list[float]:
    """Return all whole hundredths from `low` to `high`, ascending.

    Example:
        >>> hundredths(0.05, 0.08)
        [0.05, 0.06, 0.07, 0.08]
    """
    return [hundredth / 100 for hundredth in range(round(100 * low), round(100 * high) + 1)]


def step_counts(budget: int) -> list[int]:
    """Return numbers of steps from the budget down to 1: all of them, or 400 at equal distances, tidy.

    Example:
        >>> step_counts(5)
        [5, 4, 3, 2, 1]

    Raises:
        ValueError: the budget is too small to search in.
    """
    check_budget(budget)
    if budget <= MOST:
        return list(range(budget, 0, -1))
    inner = {int(tidy(budget * index / MOST)) for index in range(1, MOST)}
    return [budget, *sorted((steps for steps in inner if steps < budget), reverse=True)]


def share_of(budget: int, share: float) -> int:
    """Return a share of the budget in steps, at least 1, tidy.

    Raises:
        ValueError: the budget is too small to search in.
    """
    check_budget(budget)
    return max(1, int(tidy(round(share * budget))))


def window_of(budget: int, fixed: Fixed, least: int = 2, share: float = WINDOW_SHARE) -> int:
    """Return the window of a family: a share of the budget, tidy, and inside the range that is searched.

    Args:
        budget: optimizer steps of a full-length run, at least 4.
        fixed: parameters that stay as they are.
        least: number of evaluations that a window must hold.
        share: of the budget.

    Raises:
        ValueError: the budget is too small to search in, or too small for a fixed stride.
    """
    allowed = windows(budget, fixed, least)
    return min(max(share_of(budget, share), allowed.low), allowed.high)


def members(varied: str, values: Sequence[float | int], fixed: Fixed, **rest: float | int) -> list[Member]:
    """Return a family.

    Example:
        >>> members("threshold", [0.1, 0.2], {"stride": 5}, window=80)
        [{'window': 80, 'threshold': 0.1}, {'window': 80, 'threshold': 0.2}]

    Args:
        varied: the parameter in which the members differ.
        values: of that parameter, from the latest stop to the earliest.
        fixed: parameters that stay as they are, which no member names.
        rest: the other parameters that a setting needs.

    Raises:
        ValueError: `varied` is fixed.
    """
    if varied in fixed:
        raise ValueError(f"{varied} is fixed at {fixed[varied]!r}, but the settings must differ in it; leave it free")
    others = {key: value for key, value in rest.items() if key not in fixed}
    return [{**others, varied: value} for value in values]


def threshold_family(
    budget: int, fixed: Fixed, thresholds: Sequence[float], *, least: int = 2, share: float = WINDOW_SHARE
) -> list[Member]:
    """Return a family of thresholds at one window; see `members` and `window_of`."""
    if "window" in fixed:
        check_budget(budget)
        return members("threshold", thresholds, fixed)
    return members("threshold", thresholds, fixed, window=window_of(budget, fixed, least, share))
