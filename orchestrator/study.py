"""The study: Optuna searches the settings of criteria over replays of recordings, by the paper's rule."""

import inspect
import math
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from orchestrator import criteria
from orchestrator.criteria import Criterion
from orchestrator.passwords import without_password
from orchestrator.recording import Recording, recording_key
from orchestrator.replay import Outcome, Summary, replay
from orchestrator.spaces import space_of
from orchestrator.study_storage import open_storage
from trainables.errors import InvalidInput
from trainables.settings import TRAIN_IMAGE

Params = Mapping[str, Any]
Cost = Literal["iterations", "seconds"]

NEIGHBOUR_STEP = 0.1
#: Settings of each criterion from which its neighbours are climbed.
CLIMBS = 3


@dataclass(frozen=True)
class Evaluated:
    """A setting and what it makes of the recordings.

    Attributes:
        name: of the criterion.
        cost: mean over concepts of what the study saves, in optimizer steps or in seconds.
        is_feasible: whether it keeps as much quality as the rule wants.
    """

    name: str
    criterion: Criterion
    params: Params
    outcomes: tuple[Outcome, ...]
    summary: Summary
    cost: float
    is_feasible: bool

    @property
    def iterations(self) -> float:
        """Mean optimizer steps over concepts."""
        return self.summary.iterations.mean

    @property
    def quality_kept(self) -> float:
        """Mean share of the best quality over concepts."""
        assert self.summary.quality_kept is not None
        return self.summary.quality_kept.mean

    @property
    def rank(self) -> tuple[float, float, float]:
        """Sorts the better setting first: feasible, then the lower cost, then more quality."""
        if self.is_feasible:
            return (0.0, self.cost, -self.quality_kept)
        return (1.0, -self.quality_kept, self.cost)


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes:
        quality_kept: the rule: mean share of the best quality that a setting must keep.
        measure: the quality that counts.
        cost: what is saved.
        budget: optimizer steps of the recordings.
        trials: settings that were tried.
        best: the best of them and of the settings around it; not feasible only when none is.
        usual: for each criterion, the setting that was tried first: the paper's, or the method's own, scaled.
        neighbours: the settings around the best one, each parameter 10 % down and up.
        tried: every setting that was evaluated, once.
    """

    quality_kept: float
    measure: str
    cost: Cost
    budget: int
    trials: int
    best: Evaluated
    usual: tuple[Evaluated, ...]
    neighbours: tuple[Evaluated, ...]
    tried: tuple[Evaluated, ...]

    @property
    def name(self) -> str:
        """The best setting's criterion."""
        return self.best.name

    def best_of_each(self) -> tuple[Evaluated, ...]:
        """Return the best setting of every criterion, the best criterion first."""
        names = dict.fromkeys(one.name for one in self.tried)
        found = [min((one for one in self.tried if one.name == name), key=lambda one: one.rank) for name in names]
        return tuple(sorted(found, key=lambda one: one.rank))

    def front(self) -> tuple[Evaluated, ...]:
        """Return the settings that no other one beats in cost and quality, the cheapest first."""
        front: list[Evaluated] = []
        for one in sorted(self.tried, key=lambda one: (one.cost, -one.quality_kept)):
            if not front or one.quality_kept > front[-1].quality_kept:
                front.append(one)
        return tuple(front)


class Study:
    """The search for the best setting of one or several criteria on some recordings.

    The paper's rule (section 4.2): the lowest cost such that the mean quality kept reaches a share of the best. For
    each criterion the paper's own setting for the method, or the method's own, is tried first, so that a result is
    never worse.

    Args:
        recordings: complete ones of the tuning concepts, all of one budget; several seeds of a concept count as one.
        names: of the criteria, whose ranges are in `search_spaces`; they take turns.
        method: personalization method, whose usual setting is tried first.
        quality_kept: the share to keep, 0..1.
        measure: the quality that counts.
        cost: what is saved: optimizer steps, or measured seconds with what the criterion itself costs.
        fixed: for a criterion, settings that stay as they are, such as {"dvar": {"stride": 10}}; the setting that is
            tried first has them too.

    Raises:
        InvalidInput: there is no recording, their budgets differ, no criterion is named, one has no search space, or
            settings are fixed of a criterion that is not searched.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        names: Sequence[str] = ("dvar",),
        method: str = "textual_inversion",
        quality_kept: float = 0.9,
        measure: str = TRAIN_IMAGE,
        cost: Cost = "iterations",
        fixed: Mapping[str, Params] | None = None,
    ) -> None:
        if not 0 < quality_kept <= 1:
            raise InvalidInput(f"quality_kept must lie above 0 and at most at 1, got {quality_kept}")
        if not names:
            raise InvalidInput(f"no criterion is named; available: {', '.join(criteria.names())}")
        self._recordings, self._measure, self._cost = tuple(recordings), measure, cost
        self._quality_kept, self.budget = quality_kept, _common_budget(recordings)
        modules = {name: space_of(name) for name in dict.fromkeys(names)}
        self._fixed = {name: dict(params) for name, params in (fixed or {}).items()}
        for name in self._fixed:
            if name not in modules:
                raise InvalidInput(
                    f"settings of {name!r} are fixed, which is not searched; that is: {', '.join(modules)}"
                )
        self.spaces = {name: self._space(name, module) for name, module in modules.items()}
        own = recordings[0].usual
        self._usual: dict[str, Params] = {
            name: self._inside(name, module.usual_setting(method, self.budget, own)) for name, module in modules.items()
        }

    def _space(self, name: str, module: Any) -> dict[str, BaseDistribution]:
        """Return the ranges of what is searched of a criterion; some depend on what is fixed."""
        fixed = self._fixed.get(name, {})
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
        for key, kind in self.spaces[name].items():
            assert isinstance(kind, IntDistribution | FloatDistribution)
            found[key] = min(max(params[key], kind.low), kind.high)
        return found

    def evaluate(self, name: str, params: Params) -> Evaluated:
        """Replay one setting of a criterion over every recording.

        Raises:
            InvalidInput: a recording lacks what the criterion watches, or seconds where these are the cost.
        """
        params = {key: _tidy(value) for key, value in params.items()} | self._fixed.get(name, {})
        criterion = criteria.load(name, **params)
        outcomes = tuple(replay(criterion, recording, self._measure) for recording in self._recordings)
        summary = Summary.of(outcomes)
        assert summary.quality_kept is not None
        spread = summary.iterations if self._cost == "iterations" else summary.seconds
        if spread is None and criterion.evaluation.inputs is not None:
            raise InvalidInput(
                f"{criterion}: what L_det of some inputs takes was never measured, so seconds are unknown; save "
                "iterations instead, or leave `inputs` out"
            )
        if spread is None:
            raise InvalidInput("a recording lacks measured seconds; save iterations instead, or record it anew")
        is_feasible = summary.quality_kept.mean >= self._quality_kept
        return Evaluated(name, criterion, params, outcomes, summary, spread.mean, is_feasible)

    def usual(self, name: str) -> Evaluated:
        """Replay the setting of a criterion that is tried first."""
        return self.evaluate(name, self._usual[name])

    def search(
        self,
        trials: int,
        *,
        seed: int = 0,
        storage: str | None = None,
        study_name: str | None = None,
        pareto: bool = False,
        on_trial: Callable[[int, Evaluated], None] | None = None,
    ) -> StudyResult:
        """Try settings until there are `trials` of them.

        Args:
            trials: how many in all, those of an earlier call or of others on the same storage included.
            seed: of the sampler; the same one repeats a study in memory.
            storage: see `study_storage.open_storage`, to keep the study and go on with it, also by several processes at
                once; None keeps it in memory.
            study_name: its name there; a hash of recordings, rule and ranges is appended, so that a study never goes on
                with what others' figures taught it.
            pareto: whether cost and quality are two objectives; otherwise quality is a constraint.
            on_trial: told the number of settings so far and the best one.

        Raises:
            InvalidInput: the storage cannot be used.
        """
        with _quiet_optuna():
            name = f"{study_name} {self._fingerprint(pareto)}" if study_name else None
            study = _open(storage, name, seed, pareto)
            if not study.trials:
                for criterion, params in self._usual.items():
                    study.enqueue_trial(_as_trial(criterion, params))
            usual = tuple(self.usual(criterion) for criterion in self._usual)
            tried = _Tried(usual)
            self._take_in(study, tried)
            while (count := len(_finished(study))) < trials:
                trial = study.ask()
                tried.trials.add(trial.number)
                tried.add(self._try(study, trial, pareto))
                if on_trial:
                    on_trial(count + 1, tried.best)
            self._take_in(study, tried)  # what others tried meanwhile
        for one in [one for name in self.spaces for one in tried.best_of(name, CLIMBS)]:
            self._climb(one, tried)
        neighbours = tuple(self.evaluate(tried.best.name, params) for params in self._around(tried.best))
        return StudyResult(
            quality_kept=self._quality_kept,
            measure=self._measure,
            cost=self._cost,
            budget=self.budget,
            trials=count,
            best=tried.best,
            usual=usual,
            neighbours=neighbours,
            tried=tried.all,
        )

    def _try(self, study: optuna.Study, trial: optuna.Trial, pareto: bool) -> Evaluated:
        """Evaluate what the sampler suggests, and tell it what came of it."""
        try:
            evaluated = self.evaluate(*self._suggest(trial))
        except BaseException:  # also an interrupt: a kept study must not hold a trial that runs for ever
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        if not pareto:
            trial.set_constraint("quality_kept", self._quality_kept - evaluated.quality_kept)
        study.tell(trial, [evaluated.cost, evaluated.quality_kept] if pareto else evaluated.cost)
        return evaluated

    def _suggest(self, trial: optuna.Trial) -> tuple[str, Params]:
        """Let the sampler choose a setting; the criteria take turns, for a comparison is fair when all are searched."""
        name = list(self.spaces)[trial.number % len(self.spaces)]
        return name, {key: _suggest(trial, f"{name}.{key}", kind) for key, kind in self.spaces[name].items()}

    def _take_in(self, study: optuna.Study, tried: "_Tried") -> None:
        """Add what the storage holds, whoever tried it."""
        for trial in _finished(study):
            if trial.number not in tried.trials:
                tried.trials.add(trial.number)
                tried.add(self._of_trial(trial))

    def _of_trial(self, trial: optuna.trial.FrozenTrial) -> Evaluated:
        """Evaluate again what an earlier call tried: replays are cheap, and a storage holds no outcomes."""
        name = next(iter(trial.params)).partition(".")[0]
        return self.evaluate(name, {key: trial.params[f"{name}.{key}"] for key in self.spaces[name]})

    def _fingerprint(self, pareto: bool) -> str:
        rule = {
            "keys": sorted(recording.key for recording in self._recordings),
            "spaces": {name: {key: repr(kind) for key, kind in space.items()} for name, space in self.spaces.items()},
            "measure": self._measure,
            "kept": None if pareto else self._quality_kept,
            "cost": self._cost,
        } | ({"fixed": self._fixed} if self._fixed else {})
        return recording_key(rule)[:8]

    def _climb(self, best: Evaluated, tried: "_Tried") -> None:
        """Move to the best neighbour as long as one is better: the sampler seldom hits the very edge of the rule."""
        while True:
            neighbours = [self.evaluate(best.name, params) for params in self._around(best)]
            for one in neighbours:
                tried.add(one)
            better = min(neighbours, key=lambda one: one.rank, default=best)
            if better.rank >= best.rank:
                return
            best = better

    def _around(self, one: Evaluated) -> Iterator[Params]:
        """Yield the setting with each parameter one step down and up, inside the space, each setting once."""
        for name, distribution in self.spaces[one.name].items():
            for direction in (-1, 1):
                moved = _moved(distribution, one.params[name], direction)
                if not math.isclose(moved, one.params[name]):
                    yield {**one.params, name: moved}


class _Tried:
    """The settings that were evaluated, each once, and the best of them: of equals, the first."""

    def __init__(self, evaluated: Sequence[Evaluated]) -> None:
        self._found: dict[tuple[str, Criterion], Evaluated] = {}
        self.trials: set[int] = set()
        self.best = evaluated[0]
        for one in evaluated:
            self.add(one)

    def add(self, one: Evaluated) -> None:
        self._found.setdefault((one.name, one.criterion), one)
        if one.rank < self.best.rank:
            self.best = one

    def best_of(self, name: str, count: int) -> list[Evaluated]:
        return sorted((one for one in self._found.values() if one.name == name), key=lambda one: one.rank)[:count]

    @property
    def all(self) -> tuple[Evaluated, ...]:
        return tuple(self._found.values())


def _as_trial(name: str, params: Params) -> dict[str, Any]:
    return {f"{name}.{key}": value for key, value in params.items()}


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


def _common_budget(recordings: Sequence[Recording]) -> int:
    if not recordings:
        raise InvalidInput("there are no recordings to search on; make some with `dvar record`")
    budgets = {recording.budget for recording in recordings}
    if len(budgets) > 1:
        listed = ", ".join(f"{recording.concept}: {recording.budget}" for recording in recordings)
        raise InvalidInput(f"the recordings have different budgets ({listed}); search on those of one budget")
    return budgets.pop()


def _open(storage: str | None, study_name: str | None, seed: int, pareto: bool) -> optuna.Study:
    directions: list[Literal["minimize", "maximize"]] = ["minimize", "maximize"] if pareto else ["minimize"]
    try:
        study = optuna.create_study(
            storage=open_storage(storage) if storage else None,
            study_name=study_name,
            load_if_exists=True,
            directions=directions,
        )
    except Exception as error:  # every kind of storage raises its own
        shown = without_password(storage or "")
        reason = str(error).replace(storage or "", shown)
        if isinstance(error, ImportError):
            reason = "the database's driver is not installed; for PostgreSQL: pip install 'dvar-tune[postgresql]'"
        raise InvalidInput(f"study storage {shown!r} cannot be used: {reason}") from error
    study.sampler = optuna.samplers.TPESampler(
        seed=_sampler_seed(seed, len(study.trials), is_shared=storage is not None)
    )
    return study


def _sampler_seed(seed: int, trials: int, *, is_shared: bool) -> int:
    """Return the seed of a sampler that begins after some trials.

    The same seed on resume would repeat the samples of the start, and workers that start together would draw the same:
    where others may work on the study too, the process is part of the seed.
    """
    worker = [os.getpid(), *socket.gethostname().encode()] if is_shared else []
    return int(np.random.SeedSequence([seed % 2**32, trials, *worker]).generate_state(1)[0])


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
