"""What a study searches: each criterion's ranges, its fixed settings, and the default parameters, tried first."""

import importlib
import importlib.util
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from orchestrator import criteria, plugins
from orchestrator.criteria import Criterion
from search_spaces.defaults import MethodDefaults
from trainables.errors import InvalidInput
from trainables.types import JsonDict, JsonObject

Params = JsonObject

NEIGHBOUR_STEP = 0.1
#: Attribute of an enqueued Optuna trial: the criterion whose setting it is.
CRITERION = "criterion"
#: Attribute of an enqueued Optuna trial: its setting, keyed by the names of Optuna's parameters.
CHOSEN = "chosen"
#: Entry point group in which other distributions announce the module with a criterion's `space` and `default_params`.
GROUP = "dvar_tune.search_spaces"


@runtime_checkable
class SpaceModule(Protocol):
    """The module with the ranges of a criterion's settings; the built-in modules are in `search_spaces`."""

    def space(self, budget: int, fixed: Params | None = None) -> dict[str, BaseDistribution]:
        """Return the ranges, as distributions of Optuna.

        Args:
            budget: optimizer steps of a full-length run.
            fixed: settings that are not searched, on which ranges may depend.

        Raises:
            ValueError: no range is left to search.
        """

    def default_params(
        self, method: str, budget: int, defaults: MethodDefaults | None = None
    ) -> Mapping[str, float | int]:
        """Return the default parameters, which are tried first.

        Args:
            method: name of the personalization method.
            budget: optimizer steps of a full-length run, to which steps are scaled.
            defaults: the method's own; None if it states none.
        """


class NoSpace(InvalidInput):
    """A criterion has no search space: its settings can be given but not searched."""


def space_of(name: str) -> SpaceModule:
    """Return the module of a criterion's ranges: built in, announced by another distribution, or the criterion's own.

    Args:
        name: of a criterion, or "module:Class", whose module defines the two functions itself.

    Raises:
        NoSpace: the criterion has no ranges, or its module lacks a function.
        InvalidInput: there is no such criterion, or the module cannot be imported.
    """
    plugins.CRITERIA.spec(name)
    if ":" in name:
        return _checked(name, name.partition(":")[0])
    if importlib.util.find_spec(f"search_spaces.{name}" if name.isidentifier() else "search_spaces.-"):
        return _checked(name, f"search_spaces.{name}")
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _checked(name, point.module)
    raise NoSpace(
        f"criterion {name!r} has no search space; add search_spaces/{name}.py, or an entry point of {GROUP!r}"
    )


def _checked(name: str, module: str) -> SpaceModule:
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # somebody else's module may raise anything
        raise InvalidInput(f"the search space of {name!r}, {module!r}, cannot be imported: {error}") from error
    if not isinstance(imported, SpaceModule):
        raise NoSpace(
            f"criterion {name!r} has no search space; {module!r} needs the functions space and default_params"
        )
    return imported


def searchable() -> tuple[list[str], list[str]]:
    """Return the names of the criteria that have a search space, and a message for each broken space."""
    names, problems = [], []
    for name in criteria.names():
        try:
            space_of(name)
        except NoSpace:
            continue
        except InvalidInput as error:
            problems.append(str(error))
        else:
            names.append(name)
    return names, problems


class SearchSpace:
    """The settings of the criteria that a study searches; criteria take turns, so that their comparison is fair.

    Args:
        names: of the criteria, whose ranges are in `search_spaces`.
        budget: optimizer steps of a full-length run, to which the ranges are scaled.
        method: personalization method, whose default parameters are tried first.
        defaults: the method's own, for a method that the paper lacks.
        fixed: for each criterion, the settings that are not searched, such as {"dvar": {"stride": 10}}; they also
            apply to the default parameters.

    Raises:
        InvalidInput: no criterion is named, a criterion has no search space, or settings are fixed for a criterion
            that is not searched.
    """

    def __init__(
        self,
        names: Sequence[str],
        budget: int,
        *,
        method: str = "textual_inversion",
        defaults: MethodDefaults | None = None,
        fixed: Mapping[str, Params] | None = None,
    ) -> None:
        if not names:
            raise InvalidInput(f"no criterion is named; available: {', '.join(criteria.names())}")
        self.budget = budget
        modules = {name: space_of(name) for name in dict.fromkeys(names)}
        self.fixed = {name: dict(params) for name, params in (fixed or {}).items()}
        for name in self.fixed:
            if name not in modules:
                raise InvalidInput(
                    f"{name!r} has fixed settings but is not searched; searched are: {', '.join(modules)}"
                )
        self.ranges = {name: self._ranges(name, module) for name, module in modules.items()}
        #: For each criterion the default parameters, tried first: the paper's, or the method's own, scaled.
        self.defaults: dict[str, Params] = {
            name: self._inside(name, module.default_params(method, budget, defaults))
            for name, module in modules.items()
        }

    def _ranges(self, name: str, module: SpaceModule) -> dict[str, BaseDistribution]:
        """Return the ranges of a criterion's searched settings; some depend on the fixed settings."""
        fixed = self.fixed.get(name, {})
        try:
            space = module.space(self.budget, fixed)
        except ValueError as error:
            raise InvalidInput(f"{name}: {error}") from error
        ranges = {key: kind for key, kind in space.items() if key not in fixed}
        if not ranges:
            raise InvalidInput(f"every setting of {name!r} is fixed; nothing is left to search")
        return ranges

    def _inside(self, name: str, params: Params) -> Params:
        """Return the searched part of a setting, clipped to the ranges."""
        inside = {}
        for key, kind in self.ranges[name].items():
            assert isinstance(kind, IntDistribution | FloatDistribution)
            inside[key] = min(max(params[key], kind.low), kind.high)
        return inside

    def criterion(self, name: str, params: Params) -> tuple[Params, Criterion]:
        """Return a setting as it is used, rounded and with the fixed settings, and the criterion that it makes.

        Raises:
            InvalidInput: the criterion refuses the setting.
        """
        params = {key: _tidy(value) for key, value in params.items()} | self.fixed.get(name, {})
        return params, criteria.load(name, **params)

    def enqueue(self, study: optuna.Study, name: str, params: Params, attributes: Params | None = None) -> None:
        """Make a setting the study's next suggestion; its trial gets the attributes."""
        chosen = {f"{name}.{key}": params[key] for key in self.ranges[name]}
        study.enqueue_trial(chosen, user_attrs={CRITERION: name, CHOSEN: chosen, **(attributes or {})})

    def suggest(self, trial: optuna.Trial) -> tuple[str, Params]:
        """Return a trial's criterion and setting: the enqueued setting, else the sampler's choice."""
        name = trial.user_attrs.get(CRITERION) or list(self.ranges)[trial.number % len(self.ranges)]
        return name, {key: _suggest(trial, f"{name}.{key}", kind) for key, kind in self.ranges[name].items()}

    def of_trial(self, trial: optuna.trial.FrozenTrial) -> tuple[str, Params]:
        """Return the criterion and setting of a trial that a storage holds.

        Raises:
            KeyError: the setting is incomplete, because its process died while choosing it.
        """
        chosen = trial.user_attrs.get(CHOSEN) or trial.params
        name = next(iter(chosen), "").rpartition(".")[0]
        return name, {key: chosen[f"{name}.{key}"] for key in self.ranges[name]}

    def around(self, name: str, params: Params) -> Iterator[Params]:
        """Yield the neighbours of a setting: each parameter a step down and up, inside the ranges, without repeats."""
        for key, distribution in self.ranges[name].items():
            for direction in (-1, 1):
                moved = _moved(distribution, params[key], direction)
                if not math.isclose(moved, params[key]):
                    yield {**params, key: moved}

    def identity(self) -> JsonDict:
        """Return everything that determines the space, as plain JSON: equal spaces are equal."""
        ranges = {name: {key: repr(kind) for key, kind in space.items()} for name, space in self.ranges.items()}
        return {"spaces": ranges} | ({"fixed": self.fixed} if self.fixed else {})


def _suggest(trial: optuna.Trial, name: str, kind: BaseDistribution) -> float | int:
    if isinstance(kind, IntDistribution):
        return trial.suggest_int(name, kind.low, kind.high, step=kind.step, log=kind.log)
    assert isinstance(kind, FloatDistribution)
    return trial.suggest_float(name, kind.low, kind.high, step=kind.step, log=kind.log)


def _tidy(value: float | int) -> float | int:
    """Return a number rounded to four significant digits, because 71 steps of 0.01 are 0.7100000000000001."""
    return value if isinstance(value, int) else float(f"{value:.4g}")


def _moved(distribution: BaseDistribution, start: float, direction: int) -> float | int:
    """Return the value in the range that lies a tenth, and at least a step, away from `start`."""
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    value, step = start * (1 + direction * NEIGHBOUR_STEP), distribution.step or 0
    if step:
        toward = math.floor if direction < 0 else math.ceil
        value = distribution.low + step * toward((value - distribution.low) / step)
        if math.isclose(value, start, abs_tol=step / 1e6):
            value = start + direction * step
    clipped = min(max(value, distribution.low), distribution.high)
    return int(clipped) if isinstance(distribution, IntDistribution) else _tidy(clipped)
