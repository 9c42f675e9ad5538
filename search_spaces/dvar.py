"""The ranges of DVAR's window N and threshold alpha (section 3.3), and the setting that is tried first."""

from collections.abc import Mapping

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from search_spaces.defaults import MethodDefaults
from search_spaces.paper import method_defaults
from search_spaces.windows import scaled, windows

THRESHOLDS = (0.01, 0.95)


def space(budget: int, fixed: Mapping[str, object] | None = None) -> dict[str, BaseDistribution]:
    """Return the ranges of "window" (steps) and "threshold", for Optuna and Ray's OptunaSearch alike.

    Thresholds are whole hundredths; of windows, see `search_spaces.windows`.

    Args:
        budget: optimizer steps of a full-length run, at least 4.
        fixed: settings that are not searched; of a "stride", steps from one evaluation of L_det to the next, a window
            holds two at least.

    Raises:
        ValueError: the budget is too small to search in.
    """
    window = windows(budget)
    stride = (fixed or {}).get("stride", 1)
    if isinstance(stride, int) and stride > 1:
        low = max(window.low, 2 * stride)
        if low > window.high:
            raise ValueError(
                f"a stride of {stride} steps leaves no window to search in {budget} steps; use a smaller one"
            )
        window = IntDistribution(low, window.high, log=True)
    return {"window": window, "threshold": FloatDistribution(*THRESHOLDS, step=0.01)}


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return the (N, alpha) that is tried first: N scaled to the budget and kept inside the space.

    Args:
        method: a personalization method's name; the paper's setting for it is taken where the paper has one.
        budget: optimizer steps of a full-length run, at least 4.
        defaults: as a method that the paper lacks states them itself; None takes the paper's for Textual Inversion.

    Raises:
        ValueError: the budget is too small to search in.
    """
    start = method_defaults(method, defaults)
    threshold = min(max(round(start.threshold, 2), THRESHOLDS[0]), THRESHOLDS[1])
    return {"window": scaled(start.window, start.budget, budget), "threshold": threshold}
