"""What a study searches: each criterion's ranges, what of it is fixed, and the setting that is tried first."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from orchestrator import criteria
from orchestrator.criteria import Criterion
from orchestrator.study.spaces import space_of
from trainables.errors import InvalidInput

Params = Mapping[str, Any]

NEIGHBOUR_STEP = 0.1
#: Attribute of an enqueued Optuna trial: whose setting it is.
CRITERION = "criterion"


class SearchSpace:
    """The settings of one or several criteria; they take turns, for a comparison is fair when all are searched.

    Args:
        names: of the criteria, whose ranges are in `search_spaces`.
        budget: optimizer steps of a full-length run, by which the ranges are scaled.
        method: personalization method, whose usual setting is tried first.
        defaults: window, threshold and budget that the method itself brings, where the paper has none for it.
        fixed: for a criterion, settings that stay as they are, such as {"dvar": {"stride": 10}}; the setting that is
            tried first has them too.

    Raises:
        InvalidInput: no criterion is named, one has no search space, or settings are fixed of a criterion that is not
            searched.
    """

    def __init__(
        self,
        names: Sequence[str],
        budget: int,
        *,
        method: str = "textual_inversion",
        defaults: Mapping[str, float] | None = None,
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
                    f"settings of {name!r} are fixed, which is not searched; that is: {', '.join(modules)}"
                )
        self.ranges = {name: self._ranges(name, module) for name, module in modules.items()}
        #: For each criterion the setting that is tried first: the paper's, or the method's own, scaled.
        self.defaults: dict[str, Params] = {
            name: self._inside(name, module.default_params(method, budget, defaults))
            for name, module in modules.items()
        }

    def _ranges(self, name: str, module: Any) -> dict[str, BaseDistribution]:
        """Return the ranges of what is searched of a criterion; some depend on what is fixed."""
        fixed = self.fixed.get(name, {})
        known = inspect.signature(module.space).parameters
        try:
            space = module.space(self.budget, **{key: value for key, value in fixed.items() if key in known})
        except ValueError as error:
            raise InvalidInput(f"{name}: {error}") from error
        found = {key: kind for key, kind in space.items() if key not in fixed}
        if not found:
            raise InvalidInput(f"every setting of {name!r} is fixed; nothing is left to search")
        return found

    def _inside(self, name: str, params: Params) -> Params:
        """Return a setting's searched part, moved into the ranges."""
        found = {}
        for key, kind in self.ranges[name].items():
            assert isinstance(kind, IntDistribution | FloatDistribution)
            found[key] = min(max(params[key], kind.low), kind.high)
        return found

    def criterion(self, name: str, params: Params) -> tuple[Params, Criterion]:
        """Return a setting as it is used, with what is fixed, and its criterion."""
        params = {key: _tidy(value) for key, value in params.items()} | self.fixed.get(name, {})
        return params, criteria.load(name, **params)

    def enqueue(self, study: optuna.Study, name: str, params: Params, attributes: Params | None = None) -> None:
        """Let a setting be the study's next suggestion; the trial gets the attributes."""
        chosen = {f"{name}.{key}": params[key] for key in self.ranges[name]}
        study.enqueue_trial(chosen, user_attrs={CRITERION: name, **(attributes or {})})

    def suggest(self, trial: optuna.Trial) -> tuple[str, Params]:
        """Let the sampler choose a setting, or take the one that was enqueued."""
        name = trial.user_attrs.get(CRITERION) or list(self.ranges)[trial.number % len(self.ranges)]
        return name, {key: _suggest(trial, f"{name}.{key}", kind) for key, kind in self.ranges[name].items()}

    def of_trial(self, trial: optuna.trial.FrozenTrial) -> tuple[str, Params]:
        """Return the setting of a trial that a storage holds.

        Raises:
            KeyError: whoever chose it died before it was whole.
        """
        chosen = trial.system_attrs.get("fixed_params") or trial.params
        name = next(iter(chosen), "").rpartition(".")[0]
        return name, {key: chosen[f"{name}.{key}"] for key in self.ranges[name]}

    def around(self, name: str, params: Params) -> Iterator[Params]:
        """Yield the setting with each parameter one step down and up, inside the ranges, each setting once."""
        for key, distribution in self.ranges[name].items():
            for direction in (-1, 1):
                moved = _moved(distribution, params[key], direction)
                if not math.isclose(moved, params[key]):
                    yield {**params, key: moved}

    def identity(self) -> dict[str, Any]:
        """Return what makes the space, as plain JSON."""
        ranges = {name: {key: repr(kind) for key, kind in space.items()} for name, space in self.ranges.items()}
        return {"spaces": ranges} | ({"fixed": self.fixed} if self.fixed else {})


def _suggest(trial: optuna.Trial, name: str, kind: BaseDistribution) -> float | int:
    if isinstance(kind, IntDistribution):
        return trial.suggest_int(name, kind.low, kind.high, step=kind.step, log=kind.log)
    assert isinstance(kind, FloatDistribution)
    return trial.suggest_float(name, kind.low, kind.high, step=kind.step, log=kind.log)


def _tidy(value: float | int) -> float | int:
    """Return four digits of a number: more says nothing, and 71 steps of 0.01 are 0.7100000000000001."""
    return value if isinstance(value, int) else float(f"{value:.4g}")


def _moved(distribution: BaseDistribution, start: float, direction: int) -> float | int:
    """Return the value of the space a tenth away from `start`, and at least one step."""
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    value, step = start * (1 + direction * NEIGHBOUR_STEP), distribution.step or 0
    if step:
        toward = math.floor if direction < 0 else math.ceil
        value = distribution.low + step * toward((value - distribution.low) / step)
        if math.isclose(value, start, abs_tol=step / 1e6):
            value = start + direction * step
    clipped = min(max(value, distribution.low), distribution.high)
    return int(clipped) if isinstance(distribution, IntDistribution) else _tidy(clipped)
