"""The windows over which a criterion may look, as a function of the budget."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from search_spaces.defaults import MethodDefaults
from search_spaces.paper import method_defaults

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


def rescaled(params: Mapping[str, Any], usual_budget: int, budget: int) -> dict[str, Any]:
    """Return a criterion's setting for another budget: its "window" and "steps" in proportion."""
    scaled_params = dict(params)
    if "window" in scaled_params:
        scaled_params["window"] = scaled(scaled_params["window"], usual_budget, budget)
    if "steps" in scaled_params:
        scaled_params["steps"] = min(max(1, round(scaled_params["steps"] * budget / usual_budget)), budget)
    return scaled_params


def windowed_space(budget: int, thresholds: tuple[float, float]) -> dict[str, BaseDistribution]:
    """Return the ranges of "window" (steps) and "threshold", both on a log scale.

    Args:
        budget: optimizer steps of a full-length run, at least 4.
        thresholds: the least and the greatest.

    Raises:
        ValueError: the budget is too small to search in.
    """
    return {"window": windows(budget), "threshold": FloatDistribution(*thresholds, log=True)}


def windowed_setting(
    method: str, budget: int, defaults: MethodDefaults | None, threshold: float
) -> dict[str, float | int]:
    """Return DVAR's usual window for a method, scaled to the budget, with a threshold.

    See `search_spaces.dvar.default_params` for the arguments and errors.
    """
    start = method_defaults(method, defaults)
    return {"window": scaled(start.window, start.budget, budget), "threshold": threshold}
