"""The ranges of the area rule's first step and threshold, and its default parameters."""

from optuna.distributions import FloatDistribution

from search_spaces.base import NOTHING_FIXED, Fixed, Ranges
from search_spaces.defaults import MethodDefaults
from search_spaces.families import BEGIN_SHARE, Member, hundredths, members, share_of
from search_spaces.windows import begins

THRESHOLDS = (0.02, 0.6)  # of the fall so far; on a straight line the area is 0.4 of it


def space(budget: int, fixed: Fixed = NOTHING_FIXED) -> Ranges:
    """Return the ranges of "begin" (steps, see `search_spaces.windows.begins`) and "threshold" (whole hundredths).

    Raises:
        ValueError: the budget is too small to search in.
    """
    return {"begin": begins(budget), "threshold": FloatDistribution(*THRESHOLDS, step=0.01)}


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return the setting with which the rule was found: from 3 % of the budget on, a threshold of a fifth."""
    return {"begin": share_of(budget, BEGIN_SHARE), "threshold": 0.2}


def family(budget: int, fixed: Fixed = NOTHING_FIXED) -> list[Member]:
    """Return thresholds from small to large, from 3 % of the budget on: a small one stops late.

    Raises:
        ValueError: the threshold is fixed, or the budget is too small to search in.
    """
    return members("threshold", hundredths(*THRESHOLDS), fixed, begin=share_of(budget, BEGIN_SHARE))
