"""The ranges of DVAR's window N and threshold alpha (section 3.3), and the setting that is tried first."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from search_spaces.paper import default_window
from search_spaces.windows import scaled, windows

THRESHOLDS = (0.01, 0.95)


def space(budget: int, stride: int = 1) -> dict[str, BaseDistribution]:
    """Return the ranges of "window" (steps) and "threshold", for Optuna and Ray's OptunaSearch alike.

    Thresholds are whole hundredths; of windows, see `search_spaces.windows`.

    Args:
        budget: optimizer steps of a full-length run, at least 4.
        stride: steps from one evaluation of L_det to the next, of which a window holds two at least.

    Raises:
        ValueError: the budget is too small to search in.
    """
    found = windows(budget)
    if stride > 1:
        low = max(found.low, 2 * stride)
        if low > found.high:
            raise ValueError(
                f"a stride of {stride} steps leaves no window to search in {budget} steps; use a smaller one"
            )
        found = IntDistribution(low, found.high, log=True)
    return {"window": found, "threshold": FloatDistribution(*THRESHOLDS, step=0.01)}


def default_params(method: str, budget: int, defaults: Mapping[str, Any] | None = None) -> dict[str, float | int]:
    """Return the (N, alpha) that is tried first: N scaled to the budget and kept inside the space.

    Args:
        method: a personalization method's name; the paper's setting for it is taken where the paper has one.
        budget: optimizer steps of a full-length run, at least 4.
        defaults: "window", "threshold" and the "budget" that they are for, as another method states them itself;
            None takes the paper's setting for Textual Inversion.

    Raises:
        ValueError: the budget is too small to search in.
    """
    usual_budget, window, threshold = default_window(method, defaults)
    threshold = min(max(round(threshold, 2), THRESHOLDS[0]), THRESHOLDS[1])
    return {"window": scaled(window, usual_budget, budget), "threshold": threshold}
