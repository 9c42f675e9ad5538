"""The windows over which a criterion may look, and their scaling, as functions of the budget."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from search_spaces.defaults import MethodDefaults
from search_spaces.paper import method_defaults

MIN_BUDGET = 4
MIN_WINDOW = 8  # a statistic of fewer values is mostly noise


def windows(budget: int) -> IntDistribution:
    """Return the range of windows in steps, log scale.

    Windows range from 1 % (but at least 8 steps) to 80 % of the budget, and are always shorter than the budget, because
    a window as long as the budget never stops. The paper's settings use 5 % to 44 %.

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
    """Return a window of `usual_budget`, scaled to `budget` and moved inside the range of windows.

    Raises:
        ValueError: the budget is too small to search in.
    """
    space = windows(budget)
    return min(max(round(window * budget / usual_budget), space.low), space.high)


def rescaled(params: Mapping[str, Any], usual_budget: int, budget: int) -> dict[str, Any]:
    """Return a criterion's setting for another budget, with its "window" and "steps" scaled in proportion.

    Raises:
        ValueError: the setting has a window, and the budget is too small to search in.
    """
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
        thresholds: the minimum and the maximum, above 0.

    Raises:
        ValueError: the budget is too small to search in.
    """
    return {"window": windows(budget), "threshold": FloatDistribution(*thresholds, log=True)}


def windowed_setting(
    method: str, budget: int, defaults: MethodDefaults | None, threshold: float
) -> dict[str, float | int]:
    """Return DVAR's default window for a method, scaled to the budget, with the given threshold.

    See `search_spaces.dvar.default_params` for the other arguments and the errors.
    """
    start = method_defaults(method, defaults)
    return {"window": scaled(start.window, start.budget, budget), "threshold": threshold}
