"""The windows over which a criterion may look, and their scaling, as functions of the budget."""

from collections.abc import Mapping

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.base import NOTHING_FIXED, Fixed, Ranges, Value
from search_spaces.defaults import MethodDefaults
from search_spaces.paper import dvar_defaults

MIN_BUDGET = 4
MIN_WINDOW = 8  # what fewer values say about L_det's course is mostly noise


def check_budget(budget: int) -> None:
    """Check that a budget, in optimizer steps, is large enough to search in.

    Raises:
        ValueError: it is not.
    """
    if budget < MIN_BUDGET:
        raise ValueError(f"a budget of {budget} steps is too small to search in; use at least {MIN_BUDGET}")


def windows(budget: int, fixed: Fixed = NOTHING_FIXED, least: int = 2) -> IntDistribution:
    """Return the range of windows in steps, log scale.

    Windows range from 1 % (but at least 8 steps) to 80 % of the budget, and are always shorter than the budget, because
    a window as long as the budget never stops. The paper's settings use 5 % to 44 %.

    Args:
        budget: optimizer steps of a full-length run, at least 4.
        fixed: parameters that are not searched; with a "stride", a window holds enough evaluations of L_det.
        least: number of evaluations that are enough, at most 3.

    Raises:
        ValueError: the budget is too small to search in, or too small for the stride.
    """
    check_budget(budget)
    high = max(2, int(0.8 * budget))
    low, stride = min(max(MIN_WINDOW, round(0.01 * budget)), high), fixed.get("stride", 1)
    if isinstance(stride, int) and stride > 1:
        low = max(low, least * stride)
    if low > high:
        raise ValueError(
            f"a stride of {stride} steps leaves no window to search in {budget} steps; use a smaller stride"
        )
    return IntDistribution(low, high, log=True)


def begins(budget: int) -> IntDistribution:
    """Return the range of the first step at which a rule may stop: 1 % to 20 % of the budget, log scale.

    Raises:
        ValueError: the budget is too small to search in.
    """
    check_budget(budget)
    low = max(1, round(0.01 * budget))
    return IntDistribution(low, max(low, round(0.2 * budget)), log=True)


def scaled(window: float, old_budget: int, budget: int) -> int:
    """Return a window scaled from one budget to another, and moved into the range of the latter."""
    return _near_window(window * budget / old_budget, budget)


def scaled_steps(steps: float, old_budget: int, budget: int) -> int:
    """Return a number of steps scaled from one budget to another, at least 1 and at most the latter."""
    return _near_steps(steps * budget / old_budget, budget)


#: What a criterion counts in steps besides its window.
STEP_COUNTS = ("steps", "begin")


def rescaled(params: Mapping[str, Value], old_budget: int, budget: int) -> dict[str, Value]:
    """Return a criterion's setting for another budget: what counts steps in proportion, the rest as it is.

    That is "window", "steps" and "begin".

    Example:
        >>> rescaled({"window": 310, "threshold": 0.15}, 6100, 610)
        {'window': 31, 'threshold': 0.15}
    """
    return stretched(params, budget / old_budget, budget)


def stretched(params: Mapping[str, Value], factor: float, budget: int) -> dict[str, Value]:
    """Return a criterion's setting for training that takes `factor` times as many steps.

    Example:
        >>> stretched({"window": 31, "threshold": 0.15, "stride": 5}, 2.0, 610)
        {'window': 62, 'threshold': 0.15, 'stride': 5}

    Args:
        params: the setting.
        factor: above 0.
        budget: of the new training, in whose ranges the setting must lie.
    """
    setting = dict(params)
    window = setting.get("window")
    if isinstance(window, int | float):
        setting["window"] = _near_window(window * factor, budget)
    for name in STEP_COUNTS:
        steps = setting.get(name)
        if isinstance(steps, int | float):
            setting[name] = _near_steps(steps * factor, budget)
    return setting


def _near_window(window: float, budget: int) -> int:
    allowed = windows(budget)
    return min(max(round(window), allowed.low), allowed.high)


def _near_steps(steps: float, budget: int) -> int:
    return min(max(1, round(steps)), budget)


def windowed_space(
    budget: int, thresholds: tuple[float, float], fixed: Fixed = NOTHING_FIXED, least: int = 2
) -> Ranges:
    """Return the ranges of "window" (steps) and "threshold", both on a log scale.

    Args:
        budget: optimizer steps of a full-length run, at least 4.
        thresholds: the minimum and the maximum, above 0.
        fixed: parameters that are not searched; see `windows`.
        least: number of evaluations that a window must hold; see `windows`.

    Raises:
        ValueError: the budget is too small to search in, or too small for a fixed stride.
    """
    return {"window": windows(budget, fixed, least), "threshold": FloatDistribution(*thresholds, log=True)}


def windowed_setting(
    method: str, budget: int, defaults: MethodDefaults | None, threshold: float
) -> dict[str, float | int]:
    """Return DVAR's default window for a method, scaled to the budget, with a threshold of another criterion.

    See `search_spaces.dvar.default_params` for the other arguments and errors.
    """
    stated = dvar_defaults(method, defaults)
    return {"window": scaled(stated.window, stated.budget, budget), "threshold": threshold}
