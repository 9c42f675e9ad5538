"""The windows over which a criterion may look, as a function of the budget."""

from optuna.distributions import IntDistribution

MIN_BUDGET = 4
MIN_WINDOW = 8  # what fewer values say of a course is mostly noise


def windows(budget: int) -> IntDistribution:
    """Return the range of windows in steps, log scale.

    They go from 1 % (but at least 8 steps) to 80 % of the budget, and are always shorter than it: a window as long as
    the budget never stops. The paper's settings use 5 % to 44 %.

    Args:
        budget: optimizer steps of a full-length run, at least 4.

    Raises:
        ValueError: the budget is too small to search in.
    """
    if budget < MIN_BUDGET:
        raise ValueError(f"a budget of {budget} steps is too small to search a window in; use at least {MIN_BUDGET}")
    high = max(2, int(0.8 * budget))
    return IntDistribution(min(max(MIN_WINDOW, round(0.01 * budget)), high), high, log=True)


def scaled(window: int, usual_budget: int, budget: int) -> int:
    """Return a window for another budget, inside the range."""
    space = windows(budget)
    return min(max(round(window * budget / usual_budget), space.low), space.high)
