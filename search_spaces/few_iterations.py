"""The range of a fixed number of steps (section 4.2, "few iterations"), and its default."""

from collections.abc import Mapping

from optuna.distributions import BaseDistribution, IntDistribution

from search_spaces.defaults import MethodDefaults
from search_spaces.paper import PAPER, published
from search_spaces.windows import MIN_BUDGET


def space(budget: int, fixed: Mapping[str, object] | None = None) -> dict[str, BaseDistribution]:
    """Return the range of "steps", from 1 to the budget on a log scale.

    Raises:
        ValueError: the budget is too small to search in.
    """
    if budget < MIN_BUDGET:
        raise ValueError(f"a budget of {budget} steps is too small to search in; use at least {MIN_BUDGET}")
    return {"steps": IntDistribution(1, budget, log=True)}


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return the mean steps of CLIP-s in the paper, scaled to the budget; half the budget for other methods."""
    if method not in PAPER:
        return {"steps": max(1, budget // 2)}
    paper = published(method)
    return {"steps": min(max(1, round(paper.mean_steps * budget / paper.budget)), budget)}
