"""The ranges of CLIP-s's patience and minimum improvement (section 4.2), and its default parameters."""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.base import NOTHING_FIXED, Fixed, Ranges
from search_spaces.defaults import MethodDefaults
from search_spaces.families import Member, members
from search_spaces.paper import published

MOST_PATIENCE = 10  # snapshots


def space(budget: int, fixed: Fixed = NOTHING_FIXED) -> Ranges:
    """Return the ranges of "patience" (snapshots) and "min_improvement" (of the score), whatever the budget."""
    return {"patience": IntDistribution(1, MOST_PATIENCE), "min_improvement": FloatDistribution(0.0, 0.1, step=0.005)}


def default_params(
    method: str,
    budget: int,
    defaults: MethodDefaults | None = None,
) -> dict[str, float | int]:
    """Return the paper's setting for the method, or for Textual Inversion where the paper lacks the method."""
    paper = published(method)
    return {"patience": paper.patience, "min_improvement": paper.min_improvement}


def family(budget: int, fixed: Fixed = NOTHING_FIXED) -> list[Member]:
    """Return patience from 10 snapshots down to 1, with the paper's minimum improvement for Textual Inversion.

    Raises:
        ValueError: the patience is fixed.
    """
    improvement = published("textual_inversion").min_improvement
    return members("patience", range(MOST_PATIENCE, 0, -1), fixed, min_improvement=improvement)
