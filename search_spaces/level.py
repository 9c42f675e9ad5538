"""The range of Level's threshold, and its default."""

from optuna.distributions import FloatDistribution

from search_spaces.base import NOTHING_FIXED, Fixed, Ranges
from search_spaces.defaults import MethodDefaults
from search_spaces.families import Member, hundredths, members
from search_spaces.windows import check_budget

THRESHOLDS = (0.05, 1.0)  # of the base model's loss; what suits the methods lies between 0.58 and 0.91


def space(budget: int, fixed: Fixed = NOTHING_FIXED) -> Ranges:
    """Return the range of "threshold", whole hundredths.

    Raises:
        ValueError: the budget is too small to search in.
    """
    check_budget(budget)
    return {"threshold": FloatDistribution(*THRESHOLDS, step=0.01)}


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return a threshold that lies between those that suit the methods."""
    return {"threshold": 0.75}


def family(budget: int, fixed: Fixed = NOTHING_FIXED) -> list[Member]:
    """Return thresholds from low to high: a loss takes longer to fall further.

    Raises:
        ValueError: the threshold is fixed, or the budget is too small to search in.
    """
    check_budget(budget)
    return members("threshold", hundredths(*THRESHOLDS), fixed)
