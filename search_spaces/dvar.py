"""The ranges of DVAR's window N and threshold alpha (section 3.3), and its default parameters."""

from collections.abc import Mapping

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from search_spaces.defaults import MethodDefaults
from search_spaces.paper import method_defaults
from search_spaces.windows import scaled, windows

THRESHOLDS = (0.01, 0.95)


def space(budget: int, fixed: Mapping[str, object] | None = None) -> dict[str, BaseDistribution]:
    """Return the ranges of "window" (steps) and "threshold", for both Optuna and Ray's OptunaSearch.

    Thresholds are whole hundredths; for windows, see `search_spaces.windows`.

    Args:
        budget: optimizer steps of a full-length run, at least 4.
        fixed: settings that are not searched; with a "stride" (steps between evaluations of L_det), a window spans at
            least two strides.

    Raises:
        ValueError: the budget is too small to search in, or too small for the stride.
    """
    window = windows(budget)
    stride = (fixed or {}).get("stride", 1)
    if isinstance(stride, int) and stride > 1:
        low = max(window.low, 2 * stride)
        if low > window.high:
            raise ValueError(
                f"a stride of {stride} steps leaves no window to search in {budget} steps; use a smaller stride"
            )
        window = IntDistribution(low, window.high, log=True)
    return {"window": window, "threshold": FloatDistribution(*THRESHOLDS, step=0.01)}


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return the (N, alpha) that is tried first, with N scaled to the budget and both inside the space.

    Args:
        method: name of a personalization method, for which the paper's setting is taken if there is one.
        budget: optimizer steps of a full-length run, at least 4.
        defaults: a method's own, for a method that the paper lacks; None takes the paper's for Textual Inversion.

    Raises:
        ValueError: the budget is too small to search in.
    """
    start = method_defaults(method, defaults)
    threshold = min(max(round(start.threshold, 2), THRESHOLDS[0]), THRESHOLDS[1])
    return {"window": scaled(start.window, start.budget, budget), "threshold": threshold}
