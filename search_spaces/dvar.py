"""The ranges of DVAR's window N and threshold alpha (section 3.3), and its default parameters."""

from optuna.distributions import FloatDistribution

from search_spaces.base import NOTHING_FIXED, Fixed, Ranges
from search_spaces.defaults import MethodDefaults
from search_spaces.families import Member, geometric, threshold_family
from search_spaces.paper import dvar_defaults
from search_spaces.windows import scaled, windows

THRESHOLDS = (0.01, 0.95)


def space(budget: int, fixed: Fixed = NOTHING_FIXED) -> Ranges:
    """Return the ranges of "window" (steps) and "threshold", for Optuna and Ray's OptunaSearch alike.

    Thresholds are whole hundredths; for windows, see `search_spaces.windows`.

    Args:
        budget: optimizer steps of a full-length run, at least 4.
        fixed: parameters that are not searched; with a "stride", a window holds at least two evaluations of L_det.

    Raises:
        ValueError: the budget is too small to search in, or too small for the stride.
    """
    return {"window": windows(budget, fixed), "threshold": FloatDistribution(*THRESHOLDS, step=0.01)}


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return the (N, alpha) that is tried first: N scaled to the budget, both moved into the space.

    Example:
        >>> default_params("textual_inversion", budget=610)
        {'window': 31, 'threshold': 0.15}

    Args:
        method: name of a personalization method, for which the paper's setting is taken if there is one.
        budget: optimizer steps of a full-length run, at least 4.
        defaults: what a method that the paper lacks states itself; None takes the paper's for Textual Inversion.

    Raises:
        ValueError: the budget is too small to search in.
    """
    stated = dvar_defaults(method, defaults)
    threshold = min(max(round(stated.threshold, 2), THRESHOLDS[0]), THRESHOLDS[1])
    return {"window": scaled(stated.window, stated.budget, budget), "threshold": threshold}


def family(budget: int, fixed: Fixed = NOTHING_FIXED) -> list[Member]:
    """Return thresholds from 0.002 to 0.95 at a window of a fifth of the budget: a small one stops late.

    Example:
        >>> family(1000)[0]
        {'window': 200, 'threshold': 0.002}

    Raises:
        ValueError: the threshold is fixed, or the budget is too small to search in.
    """
    return threshold_family(budget, fixed, geometric(0.002, 0.95))
