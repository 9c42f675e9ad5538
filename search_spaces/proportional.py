"""The ranges of the proportional DVAR's first step, share and threshold, and its default parameters."""

from optuna.distributions import FloatDistribution

from search_spaces.base import NOTHING_FIXED, Fixed, Ranges
from search_spaces.defaults import MethodDefaults
from search_spaces.families import BEGIN_SHARE, Member, geometric, members, share_of
from search_spaces.windows import begins

SHARES, THRESHOLDS = (0.05, 0.9), (0.01, 0.95)
#: A line has a ratio of 0.25 then.
SHARE = 0.5


def space(budget: int, fixed: Fixed = NOTHING_FIXED) -> Ranges:
    """Return the ranges of "begin" (steps, see `search_spaces.windows.begins`), "share" and "threshold".

    Raises:
        ValueError: the budget is too small to search in.
    """
    share, threshold = FloatDistribution(*SHARES, step=0.05), FloatDistribution(*THRESHOLDS, step=0.01)
    return {"begin": begins(budget), "share": share, "threshold": threshold}


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return the last half of the run, from 3 % of the budget on, and a threshold of a tenth."""
    return {"begin": share_of(budget, BEGIN_SHARE), "share": SHARE, "threshold": 0.1}


def family(budget: int, fixed: Fixed = NOTHING_FIXED) -> list[Member]:
    """Return thresholds from small to large for the last half of the run: a small one stops late.

    Raises:
        ValueError: the threshold is fixed, or the budget is too small to search in.
    """
    thresholds = geometric(0.002, THRESHOLDS[1])
    return members("threshold", thresholds, fixed, begin=share_of(budget, BEGIN_SHARE), share=SHARE)
