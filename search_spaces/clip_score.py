"""The ranges of CLIP-s's patience and least improvement (section 4.2), and the setting that is tried first."""

from collections.abc import Mapping

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from search_spaces.defaults import MethodDefaults
from search_spaces.paper import published


def space(budget: int, fixed: Mapping[str, object] | None = None) -> dict[str, BaseDistribution]:
    """Return the ranges of "patience" (snapshots) and "min_improvement" (of the score); the budget sets neither."""
    return {"patience": IntDistribution(1, 10), "min_improvement": FloatDistribution(0.0, 0.1, step=0.005)}


def default_params(method: str, budget: int, defaults: MethodDefaults | None = None) -> dict[str, float | int]:
    """Return the paper's setting for the method, or for Textual Inversion where the paper does not have it."""
    paper = published(method)
    return {"patience": paper.patience, "min_improvement": paper.min_improvement}
