"""The stopping criteria, one file each, and combinators that make criteria of criteria.

Start with `DVAR`: `DVAR(window=310, threshold=0.15).online()` decides value by value in your own training loop,
`first_stop(values)` on a whole series. `Criterion` is the interface. Formulas and examples are in README.md beside this
file.
"""

import inspect
from collections.abc import Mapping

from orchestrator import plugins
from orchestrator.criteria._combinators import All, Any, NotBefore, Patient
from orchestrator.criteria._l_det import LDetCriterion
from orchestrator.criteria.area import Area
from orchestrator.criteria.base import Criterion, OnlineCriterion
from orchestrator.criteria.clip_score import ClipScore
from orchestrator.criteria.cusum import CUSUM
from orchestrator.criteria.divergence import Divergence
from orchestrator.criteria.dvar import DVAR
from orchestrator.criteria.ema import EMA
from orchestrator.criteria.few_iterations import FewIterations
from orchestrator.criteria.hall import Hall
from orchestrator.criteria.level import Level
from orchestrator.criteria.mann_kendall import MannKendall
from orchestrator.criteria.never import Never
from orchestrator.criteria.patience import Patience
from orchestrator.criteria.proportional import Proportional
from orchestrator.criteria.relative_gain import RelativeGain
from orchestrator.criteria.steps_per_image import StepsPerImage
from orchestrator.criteria.trend import Trend
from trainables.errors import InvalidInput
from trainables.text import did_you_mean

__all__ = [
    "CUSUM",
    "DVAR",
    "EMA",
    "All",
    "Any",
    "Area",
    "ClipScore",
    "Criterion",
    "Divergence",
    "FewIterations",
    "Hall",
    "LDetCriterion",
    "Level",
    "MannKendall",
    "Never",
    "NotBefore",
    "OnlineCriterion",
    "Patience",
    "Patient",
    "Proportional",
    "RelativeGain",
    "StepsPerImage",
    "Trend",
    "load",
    "names",
]


def names() -> list[str]:
    """Return the names of all criteria, built in and from entry points, sorted.

    Example:
        >>> "dvar" in names()
        True
    """
    return plugins.CRITERIA.names()


def load(name: str, **params: object) -> Criterion:
    """Make a criterion by name.

    Example:
        >>> load("dvar", window=310, threshold=0.15)
        DVAR(window=310, threshold=0.15)

    Args:
        name: a name among `names()`, or "module:Class".
        params: arguments of the class.

    Raises:
        InvalidInput: the name or a parameter is unknown, a parameter is missing, or the class refuses a value.
    """
    kind: type[Criterion] = plugins.CRITERIA.load(name, Criterion)
    _check_names(kind, params)
    try:
        return kind(**params)
    except ValueError as error:
        raise InvalidInput(f"{kind.__name__}: {error}") from error


def _check_names(kind: type[Criterion], params: Mapping[str, object]) -> None:
    parameters = inspect.signature(kind).parameters
    for name in params:
        if name not in parameters:
            raise InvalidInput(f"{kind.__name__} has no parameter {name!r}; {did_you_mean(name, parameters)}")
    for name, parameter in parameters.items():
        if name not in params and parameter.default is parameter.empty:
            raise InvalidInput(f"{kind.__name__} needs {name!r}; its parameters are {', '.join(parameters)}")
