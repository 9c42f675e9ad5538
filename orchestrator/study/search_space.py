"""What a study searches: each criterion's ranges, its fixed settings, and the default parameters, tried first."""

import copy
import importlib
import importlib.util
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from orchestrator import criteria, plugins
from orchestrator.criteria import Criterion
from orchestrator.recordings.recording import Recording
from search_spaces.base import FamilyModule, Fixed, SearchSpaceModule, Value
from search_spaces.defaults import MethodDefaults
from search_spaces.paper import PAPER
from trainables.errors import InvalidInput

#: A criterion's setting, parameter by parameter.
Params = Mapping[str, Value]
Range = IntDistribution | FloatDistribution

#: Entry point group in which other distributions announce the module with a criterion's `space` and `default_params`.
GROUP = "dvar_tune.search_spaces"
NEIGHBOUR_STEP = 0.1
#: Attributes of an enqueued Optuna trial: the criterion, and its parameters by Optuna's names of them.
CRITERION, CHOSEN = "criterion", "chosen"


class NoSpace(InvalidInput):
    """A criterion has no search space: its settings can be given but not searched."""


def search_space_module(name: str) -> SearchSpaceModule:
    """Return the module of a criterion's ranges: a built-in one, what another distribution announces, or its own.

    Args:
        name: of a criterion, or "module:Class", whose module defines the two functions itself.

    Raises:
        NoSpace: the criterion has no ranges.
        InvalidInput: there is no such criterion, or the module cannot be imported.
    """
    plugins.CRITERIA.spec(name)
    if ":" in name:
        return _import(name, name.partition(":")[0])
    if name.isidentifier() and importlib.util.find_spec(f"search_spaces.{name}"):
        return _import(name, f"search_spaces.{name}")
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _import(name, point.module)
    raise NoSpace(
        f"criterion {name!r} has no search space; add search_spaces/{name}.py, or an entry point of {GROUP!r}"
    )


def _import(name: str, module_name: str) -> SearchSpaceModule:
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a third-party file may raise anything
        raise InvalidInput(f"the search space of {name!r}, {module_name!r}, cannot be imported: {error}") from error
    if not isinstance(module, SearchSpaceModule):
        raise NoSpace(
            f"criterion {name!r} has no search space; {module_name!r} needs the functions space and default_params"
        )
    return module


def searchable() -> tuple[list[str], list[str]]:
    """Return the criteria that have a search space, and a message for each whose search space is broken."""
    names, problems = [], []
    for name in criteria.names():
        try:
            search_space_module(name)
        except NoSpace:
            continue
        except InvalidInput as error:
            problems.append(str(error))
        else:
            names.append(name)
    return names, problems


def stated_defaults(method: str, recording: Recording) -> MethodDefaults | None:
    """Return DVAR's setting as a method states it in a recording; None for a method whose setting the paper gives.

    Raises:
        InvalidInput: the recording holds a setting that is not understood.
    """
    return None if method in PAPER else recording.method_defaults


class SearchSpace:
    """The settings of one or several criteria; they take turns, as a comparison is fair only when each is searched.

    Example:
        >>> space = SearchSpace(["dvar"], budget=1000)
        >>> dict(space.default_params["dvar"])
        {'window': 51, 'threshold': 0.15}
        >>> [params["window"] for params in space.around("dvar", {"window": 45, "threshold": 0.15})]
        [40, 50, 45, 45]

    Args:
        names: of the criteria, whose ranges are in `search_spaces`.
        budget: optimizer steps of a full-length run, by which the ranges are scaled.
        method: personalization method, whose default setting is tried first.
        defaults: DVAR's setting as the method itself states it, for a method that the paper lacks.
        fixed: for a criterion, parameters that stay as they are, such as {"dvar": {"stride": 10}}; the setting that is
            tried first has them too.

    Attributes:
        budget: as given.
        fixed: for a criterion, parameters that are not searched.
        ranges: for each criterion, what is searched.
        default_params: for each criterion, the setting that is tried first: the paper's, or the method's own, scaled.

    Raises:
        InvalidInput: no criterion is named, a criterion has no search space, or parameters are fixed of a criterion
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
        modules = {name: search_space_module(name) for name in dict.fromkeys(names)}
        self.fixed = {name: dict(params) for name, params in (fixed or {}).items()}
        for name in self.fixed:
            if name not in modules:
                raise InvalidInput(
                    f"{name!r} has fixed settings but is not searched; searched are: {', '.join(modules)}"
                )
        self.ranges = {name: self._ranges(name, module) for name, module in modules.items()}
        self.default_params: dict[str, Params] = {
            name: self._move_inside(name, module.default_params(method, budget, defaults))
            for name, module in modules.items()
        }

    def _ranges(self, name: str, module: SearchSpaceModule) -> dict[str, Range]:
        """Return the ranges of a criterion's parameters that are not fixed."""
        fixed = self.fixed.get(name, {})
        try:
            space = _space(name, module, self.budget, fixed)
        except ValueError as error:
            raise InvalidInput(f"{name}: {error}") from error
        ranges = {key: _checked_range(name, key, kind) for key, kind in space.items() if key not in fixed}
        if not ranges:
            raise InvalidInput(f"every setting of {name!r} is fixed; nothing is left to search")
        return ranges

    def _move_inside(self, name: str, params: Mapping[str, float | int]) -> Params:
        """Return a setting's searched part, moved into the ranges."""
        return {key: min(max(params[key], kind.low), kind.high) for key, kind in self.ranges[name].items()}

    def criterion(self, name: str, params: Params) -> tuple[Params, Criterion]:
        """Return a setting as it is used, with what is fixed, and its criterion.

        Args:
            name: of a criterion that is searched.
            params: its searched part; numbers are rounded to four digits.

        Raises:
            InvalidInput: a fixed parameter is unknown, or refused.
        """
        params = {key: _tidy(value) for key, value in params.items()} | self.fixed.get(name, {})
        return params, criteria.load(name, **params)

    def enqueue(
        self, study: optuna.Study, name: str, params: Params, attributes: Mapping[str, Value] | None = None
    ) -> None:
        """Let a setting be the study's next suggestion; the trial gets the attributes."""
        chosen = {f"{name}.{key}": params[key] for key in self.ranges[name]}
        study.enqueue_trial(chosen, user_attrs={CRITERION: name, CHOSEN: chosen, **(attributes or {})})

    def suggest(self, trial: optuna.Trial) -> tuple[str, Params]:
        """Let the sampler choose a setting, or take the enqueued one."""
        name = trial.user_attrs.get(CRITERION) or list(self.ranges)[trial.number % len(self.ranges)]
        return name, {key: _suggest(trial, f"{name}.{key}", kind) for key, kind in self.ranges[name].items()}

    def of_trial(self, trial: optuna.trial.FrozenTrial) -> tuple[str, Params]:
        """Return the criterion and setting of a trial that a storage holds.

        Raises:
            KeyError: its process died before the whole setting was chosen.
        """
        chosen: Params = trial.user_attrs.get(CHOSEN) or trial.params
        name = next(iter(chosen), "").rpartition(".")[0]
        return name, {key: chosen[f"{name}.{key}"] for key in self.ranges[name]}

    def around(self, name: str, params: Params) -> Iterator[Params]:
        """Yield the setting with each searched parameter one step down and up, inside the ranges, each setting once."""
        for key, kind in self.ranges[name].items():
            start = params[key]
            assert isinstance(start, int | float)
            for direction in (-1, 1):
                moved = _moved(kind, start, direction)
                if not math.isclose(moved, start):
                    yield {**params, key: moved}

    def family(self, name: str) -> tuple[Params, ...]:
        """Return a criterion's ordered settings, which differ in a single parameter, from late stops to early ones.

        Args:
            name: of a criterion, searched or not.

        Raises:
            InvalidInput: the criterion has no such family, or none beside what is fixed.
        """
        module = search_space_module(name)
        if not isinstance(module, FamilyModule):
            raise InvalidInput(
                f"criterion {name!r} has no ordered family of settings, so that no promise can be made for it; its "
                "search space needs the function family (see search_spaces.base), or use --objective mean-lcb"
            )
        try:
            members = module.family(self.budget, self.fixed.get(name, {}))
        except ValueError as error:
            raise InvalidInput(f"{name}: {error}") from error
        return tuple(dict(member) for member in members)

    def of_families(self) -> "SearchSpace":
        """Return the space in which each criterion has only the parameter left in which its family's settings differ.

        Raises:
            InvalidInput: see `family`; or more than one parameter differs.
        """
        space = copy.copy(self)
        space.fixed, space.ranges, space.default_params = dict(self.fixed), {}, {}
        for name in self.ranges:
            key, _ = self.order(name)
            first = self.family(name)[0]
            space.fixed[name] = {other: value for other, value in first.items() if other != key} | self.fixed.get(
                name, {}
            )
            space.ranges[name] = {key: self.ranges[name][key]}
            space.default_params[name] = {key: self.default_params[name][key]}
        return space

    def order(self, name: str) -> tuple[str, int]:
        """Return in which parameter a criterion's ordered settings differ, and its sign: 1 where it grows, else -1.

        Raises:
            InvalidInput: see `family`; or more than one parameter differs.
        """
        members = self.family(name)
        differing = [key for key in members[0] if any(member[key] != members[0][key] for member in members)]
        if len(differing) != 1:
            listed = ", ".join(differing) or "none"
            raise InvalidInput(f"the ordered settings of {name!r} must differ in a single parameter, not in: {listed}")
        (key,) = differing
        first, last = members[0][key], members[-1][key]
        assert isinstance(first, int | float)
        assert isinstance(last, int | float)
        return key, 1 if first < last else -1

    def identity(self) -> dict[str, object]:
        """Return what determines the space, as plain JSON."""
        ranges = {name: {key: repr(kind) for key, kind in space.items()} for name, space in self.ranges.items()}
        return {"spaces": ranges} | ({"fixed": self.fixed} if self.fixed else {})


def _space(name: str, module: SearchSpaceModule, budget: int, fixed: Fixed) -> Mapping[str, BaseDistribution]:
    try:
        return module.space(budget, fixed) if fixed else module.space(budget)
    except TypeError as error:
        raise InvalidInput(
            f"the search space of {name!r} cannot be called: {error}; its function is `space(budget, "
            "fixed=NOTHING_FIXED)`, see search_spaces.base"
        ) from error


def _checked_range(name: str, key: str, kind: BaseDistribution) -> Range:
    if not isinstance(kind, IntDistribution | FloatDistribution):
        raise InvalidInput(
            f"the search space of {name!r} has {kind!r} for {key!r}; only ranges of numbers are searched"
        )
    return kind


def _suggest(trial: optuna.Trial, name: str, kind: Range) -> float | int:
    if isinstance(kind, IntDistribution):
        return trial.suggest_int(name, kind.low, kind.high, step=kind.step, log=kind.log)
    return trial.suggest_float(name, kind.low, kind.high, step=kind.step, log=kind.log)


def _tidy(value: Value) -> Value:
    """Return a float with four digits: further ones say nothing, and 71 steps of 0.01 are 0.7100000000000001."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _moved(kind: Range, start: float, direction: int) -> float | int:
    """Return the value of the range a tenth away from `start`, and at least one step."""
    value, step = start * (1 + direction * NEIGHBOUR_STEP), kind.step or 0
    if step:
        toward = math.floor if direction < 0 else math.ceil
        value = kind.low + step * toward((value - kind.low) / step)
        if math.isclose(value, start, abs_tol=step / 1e6):
            value = start + direction * step
    clipped = min(max(value, kind.low), kind.high)
    return int(clipped) if isinstance(kind, IntDistribution) else float(f"{clipped:.4g}")
