"""The range of a fixed number of steps (section 4.2, "few iterations"), and its default."""

from optuna.distributions import IntDistribution

from search_spaces.base import NOTHING_FIXED, Fixed, Ranges
from search_spaces.defaults import MethodDefaults
from search_spaces.families import Member, members, step_counts
from search_spaces.paper import PAPER
from search_spaces.windows import check_budget, scaled_steps


def space(budget: int, fixed: Fixed = NOTHING_FIXED) -> Ranges:
    """Return the range of "steps", log scale, up to the budget.

    Raises:
        ValueError: the budget is too small to search in.
    """
    check_budget(budget)
    return {"steps": IntDistribution(1, budget, log=True)}


def default_params(
    method: str,
    budget: int,
    defaults: MethodDefaults | None = None,
) -> dict[str, float | int]:
    """Return the mean of what CLIP-s needed in the paper, scaled to the budget; half the budget for other methods."""
    if method not in PAPER:
        return {"steps": max(1, budget // 2)}
    paper = PAPER[method]
    return {"steps": scaled_steps(paper.mean_steps, paper.dvar.budget, budget)}


def family(budget: int, fixed: Fixed = NOTHING_FIXED) -> list[Member]:
    """Return all numbers of steps from the budget down to 1, or 400 of them.

    Raises:
        ValueError: the number of steps is fixed, or the budget is too small to search in.
    """
    return members("steps", step_counts(budget), fixed)
