"""The range of a number of steps per training image, and its default."""

from optuna.distributions import IntDistribution

from search_spaces.base import NOTHING_FIXED, Fixed, Ranges
from search_spaces.defaults import MethodDefaults
from search_spaces.families import Member, members, step_counts
from search_spaces.few_iterations import default_params as default_steps
from search_spaces.windows import check_budget

#: How many images the default takes a concept to have.
IMAGES = 5


def space(budget: int, fixed: Fixed = NOTHING_FIXED) -> Ranges:
    """Return the range of "steps" per image, log scale, up to the budget, which is that of a single image.

    Raises:
        ValueError: the budget is too small to search in.
    """
    check_budget(budget)
    return {"steps": IntDistribution(1, budget, log=True)}


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return a fifth of the default number of steps of `few_iterations`, as for a concept of five images."""
    return {"steps": max(1, round(default_steps(method, budget, defaults)["steps"] / IMAGES))}


def family(budget: int, fixed: Fixed = NOTHING_FIXED) -> list[Member]:
    """Return all numbers of steps per image from the budget down to 1, or 400 of them.

    Raises:
        ValueError: the number of steps is fixed, or the budget is too small to search in.
    """
    return members("steps", step_counts(budget), fixed)
