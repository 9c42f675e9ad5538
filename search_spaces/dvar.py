"""The ranges of DVAR's window N and threshold alpha (section 3.3), and the values that the paper found."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

MIN_BUDGET = 4
MIN_WINDOW = 8  # the variance of fewer values says little
THRESHOLDS = (0.01, 0.95)

#: Method to (budget, N, alpha): sections 3.3 and 4.2.
PAPER = {
    "textual_inversion": (6100, 310, 0.15),
    "dreambooth_lora": (1000, 440, 0.40),
    "custom_diffusion": (500, 180, 0.15),
}


def space(budget: int) -> dict[str, BaseDistribution]:
    """Return the ranges of "window" (steps, log scale) and "threshold", for Optuna and Ray's OptunaSearch alike.

    Windows go from 1 % (but at least 8 steps) to 80 % of the budget, and are always shorter than it: a window as
    long as the budget never stops. The paper's settings use 5 % to 44 %. Thresholds are whole hundredths.

    Args:
        budget: optimizer steps of a full-length run, at least 4.

    Raises:
        ValueError: the budget is too small to search in.
    """
    low, high = _windows(budget)
    return {
        "window": IntDistribution(low, high, log=True),
        "threshold": FloatDistribution(*THRESHOLDS, step=0.01),
    }


def usual_setting(method: str, budget: int, own: Mapping[str, Any] | None = None) -> dict[str, float | int]:
    """Return the (N, alpha) that is tried first: N scaled to the budget and kept inside the space.

    Args:
        method: a personalization method's name; the paper's setting for it is taken where the paper has one.
        budget: optimizer steps of a full-length run, at least 4.
        own: "window", "threshold" and the "budget" that they are for, as another method states them itself; None takes
            the paper's setting for Textual Inversion.

    Raises:
        ValueError: the budget is too small to search in.
    """
    low, high = _windows(budget)
    usual_budget, window, threshold = PAPER["textual_inversion"]
    if method in PAPER:
        usual_budget, window, threshold = PAPER[method]
    elif own:
        usual_budget, window, threshold = own["budget"], own["window"], own["threshold"]
    return {"window": min(max(round(window * budget / usual_budget), low), high), "threshold": threshold}


def _windows(budget: int) -> tuple[int, int]:
    if budget < MIN_BUDGET:
        raise ValueError(f"a budget of {budget} steps is too small to search a window in; use at least {MIN_BUDGET}")
    high = max(2, int(0.8 * budget))
    return min(max(MIN_WINDOW, round(0.01 * budget)), high), high
