"""The stopping criteria, one file each; pure NumPy.

Start with `DVAR(window, threshold).first_stop(values)` or, by name, `load("dvar", ...)`. `base.Criterion` is the
interface; `All`, `Any`, `NotBefore` and `Patient` combine criteria.
"""

import inspect
import typing

from orchestrator import plugins
from orchestrator.criteria._combinators import All, Any, NotBefore, Patient
from orchestrator.criteria.base import Criterion, OnlineCriterion
from orchestrator.criteria.clip_score import ClipScore
from orchestrator.criteria.dvar import DVAR
from orchestrator.criteria.ema import EMA
from orchestrator.criteria.few_iterations import FewIterations
from orchestrator.criteria.hall import Hall
from orchestrator.criteria.never import Never
from orchestrator.criteria.trend import Trend
from trainables.errors import InvalidInput
from trainables.text import did_you_mean
from trainables.types import JsonObject

__all__ = [
    "DVAR",
    "EMA",
    "All",
    "Any",
    "ClipScore",
    "Criterion",
    "FewIterations",
    "Hall",
    "Never",
    "NotBefore",
    "OnlineCriterion",
    "Patient",
    "Trend",
    "load",
    "names",
]


def names() -> list[str]:
    """Return the names of all criteria, built in and from entry points, sorted."""
    return plugins.CRITERIA.names()


def load(name: str, **params: typing.Any) -> Criterion:
    """Make a criterion by name, such as `load("dvar", window=310, threshold=0.15)`.

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


def _check_names(kind: type[Criterion], params: JsonObject) -> None:
    known = inspect.signature(kind).parameters
    for name in params:
        if name not in known:
            raise InvalidInput(f"{kind.__name__} has no parameter {name!r}; {did_you_mean(name, known)}")
    for name, parameter in known.items():
        if name not in params and parameter.default is parameter.empty:
            raise InvalidInput(f"{kind.__name__} needs {name!r}; its parameters are {', '.join(known)}")
