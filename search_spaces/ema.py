"""The ranges of the EMA percentile's window and threshold (appendix E), and the setting that is tried first."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution

from search_spaces.paper import usual_window
from search_spaces.windows import scaled, windows

THRESHOLDS = (1e-6, 1e-1)  # of the average's relative change over the window


def space(budget: int) -> dict[str, BaseDistribution]:
    """Return the ranges of "window" (steps) and "threshold", both on a log scale.

    Args:
        budget: optimizer steps of a full-length run, at least 4.

    Raises:
        ValueError: the budget is too small to search in.
    """
    return {"window": windows(budget), "threshold": FloatDistribution(*THRESHOLDS, log=True)}


def usual_setting(method: str, budget: int, own: Mapping[str, Any] | None = None) -> dict[str, float | int]:
    """Return DVAR's window for the method, scaled, and a threshold in the middle of the range.

    The paper gives none for this criterion. See `search_spaces.dvar.usual_setting` for the arguments and errors.
    """
    usual_budget, window, _ = usual_window(method, own)
    return {"window": scaled(window, usual_budget, budget), "threshold": 1e-3}
