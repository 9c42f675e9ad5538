"""The study: Optuna searches a criterion's settings over replays of recordings, by the paper's rule."""

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from orchestrator import criteria
from orchestrator.criteria import Criterion
from orchestrator.recording import Recording, recording_key
from orchestrator.replay import Outcome, Summary, replay
from trainables.errors import InvalidInput
from trainables.settings import TRAIN_IMAGE

Params = Mapping[str, Any]

NEIGHBOUR_STEP = 0.1


@dataclass(frozen=True)
class Evaluated:
    """A setting and what it makes of the recordings.

    Attributes:
        is_feasible: whether it keeps as much quality as the rule wants.
    """

    criterion: Criterion
    params: Params
    outcomes: tuple[Outcome, ...]
    summary: Summary
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
        """Sorts the better setting first: feasible, then fewer iterations, then more quality."""
        if self.is_feasible:
            return (0.0, self.iterations, -self.quality_kept)
        return (1.0, -self.quality_kept, self.iterations)


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes:
        name: of the criterion ("dvar").
        quality_kept: the rule: mean share of the best quality that a setting must keep.
        measure: the quality that counts.
        budget: optimizer steps of the recordings.
        trials: settings that were tried.
        best: the best of them and of the settings around it; not feasible only when none is.
        usual: the setting that was tried first: the paper's, or the method's own, scaled to the budget.
        neighbours: the settings around the best one, window and threshold 10 % down and up.
    """

    name: str
    quality_kept: float
    measure: str
    budget: int
    trials: int
    best: Evaluated
    usual: Evaluated
    neighbours: tuple[Evaluated, ...]


class Study:
    """The search for a criterion's best setting on some recordings.

    The paper's rule (section 4.2): the fewest iterations such that the mean quality kept reaches a share of the
    best. The paper's own setting for the method, or the method's own, is tried first, so that a result is never worse.

    Args:
        recordings: complete ones of the tuning concepts, all of one budget.
        name: of the criterion, whose ranges are in `search_spaces`.
        method: personalization method, whose usual setting is tried first.
        quality_kept: the share to keep, 0..1.
        measure: the quality that counts.

    Raises:
        InvalidInput: there is no recording, their budgets differ, or the criterion has no search space.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        name: str = "dvar",
        method: str = "textual_inversion",
        quality_kept: float = 0.9,
        measure: str = TRAIN_IMAGE,
    ) -> None:
        if not 0 < quality_kept <= 1:
            raise InvalidInput(f"quality_kept must lie above 0 and at most at 1, got {quality_kept}")
        self._recordings, self._name, self._measure = tuple(recordings), name, measure
        self._quality_kept, self.budget = quality_kept, _common_budget(recordings)
        module = _space_module(name)
        self.space: dict[str, BaseDistribution] = module.space(self.budget)
        self._usual_params: Params = module.usual_setting(method, self.budget, recordings[0].usual)

    def evaluate(self, params: Params) -> Evaluated:
        """Replay one setting over every recording."""
        params = {name: round(value, 9) for name, value in params.items()}  # 71 steps of 0.01 are 0.7100000000000001
        criterion = criteria.load(self._name, **params)
        outcomes = tuple(replay(criterion, recording, self._measure) for recording in self._recordings)
        summary = Summary.of(outcomes)
        assert summary.quality_kept is not None
        return Evaluated(criterion, params, outcomes, summary, summary.quality_kept.mean >= self._quality_kept)

    def search(
        self,
        trials: int,
        *,
        seed: int = 0,
        storage: str | None = None,
        study_name: str | None = None,
        on_trial: Callable[[int, Evaluated], None] | None = None,
    ) -> StudyResult:
        """Try settings until there are `trials` of them.

        Args:
            trials: how many in all, those of an earlier call on the same storage included.
            seed: of the sampler.
            storage: Optuna storage URL, to keep the study and go on with it; None keeps it in memory.
            study_name: its name there; a hash of recordings and rule is appended, so that a study never goes on
                with what others' figures taught it.
            on_trial: told the number of settings so far and the best one.

        Raises:
            InvalidInput: the storage cannot be used.
        """
        with _quiet_optuna():
            study = _open(storage, f"{study_name} {self._fingerprint()}" if study_name else None, seed)
            if not study.trials:
                study.enqueue_trial(dict(self._usual_params))
            usual = self.evaluate(self._usual_params)
            best = min([usual, *self._tried(study)], key=lambda one: one.rank)
            while (count := len(_finished(study))) < trials:
                trial = study.ask(self.space)
                try:
                    evaluated = self.evaluate(trial.params)
                except BaseException:  # also an interrupt: a kept study must not hold a trial that runs for ever
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                    raise
                trial.set_constraint("quality_kept", self._quality_kept - evaluated.quality_kept)
                study.tell(trial, evaluated.iterations)
                best = min(best, evaluated, key=lambda one: one.rank)
                if on_trial:
                    on_trial(count + 1, best)
        best, neighbours = self._climb(best)
        return StudyResult(
            name=self._name,
            quality_kept=self._quality_kept,
            measure=self._measure,
            budget=self.budget,
            trials=count,
            best=best,
            usual=usual,
            neighbours=neighbours,
        )

    def _fingerprint(self) -> str:
        keys = sorted(recording.key for recording in self._recordings)
        rule = {"keys": keys, "criterion": self._name, "measure": self._measure, "kept": self._quality_kept}
        return recording_key(rule)[:8]

    def _climb(self, best: Evaluated) -> tuple[Evaluated, tuple[Evaluated, ...]]:
        """Move to the best neighbour as long as one is better: the sampler seldom hits the very edge of the rule."""
        while True:
            neighbours = tuple(self.evaluate(params) for params in self._around(best.params))
            better = min(neighbours, key=lambda one: one.rank)
            if better.rank >= best.rank:
                return best, neighbours
            best = better

    def _tried(self, study: optuna.Study) -> list[Evaluated]:
        """Evaluate again what an earlier call tried: replays are cheap, and the recordings may be others."""
        return [self.evaluate(trial.params) for trial in _finished(study)]

    def _around(self, params: Params) -> Iterator[Params]:
        """Yield the setting with each parameter one step down and up, inside the space, each setting once."""
        for name, distribution in self.space.items():
            for factor in (1 - NEIGHBOUR_STEP, 1 + NEIGHBOUR_STEP):
                moved = _inside(distribution, params[name] * factor, params[name])
                if not math.isclose(moved, params[name]):
                    yield {**params, name: moved}


def _inside(distribution: BaseDistribution, value: float, start: float) -> float | int:
    """Return the value of the space at or beyond `value`, seen from `start`, so that it moves by a step at least."""
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    step = distribution.step or 0
    if step:
        toward = math.floor if value < start else math.ceil
        value = distribution.low + step * toward((value - distribution.low) / step)
    clipped = min(max(value, distribution.low), distribution.high)
    return int(clipped) if isinstance(distribution, IntDistribution) else round(clipped, 9)


def _common_budget(recordings: Sequence[Recording]) -> int:
    if not recordings:
        raise InvalidInput("there are no recordings to search on; make some with `dvar record`")
    budgets = {recording.budget for recording in recordings}
    if len(budgets) > 1:
        listed = ", ".join(f"{recording.concept}: {recording.budget}" for recording in recordings)
        raise InvalidInput(f"the recordings have different budgets ({listed}); search on those of one budget")
    return budgets.pop()


def _space_module(name: str) -> Any:
    try:
        return importlib.import_module(f"search_spaces.{name}")
    except ModuleNotFoundError as error:
        raise InvalidInput(f"criterion {name!r} has no search space; add search_spaces/{name}.py") from error


def _open(storage: str | None, study_name: str | None, seed: int) -> optuna.Study:
    try:
        study = optuna.create_study(storage=storage, study_name=study_name, load_if_exists=True, direction="minimize")
    except Exception as error:  # every kind of storage raises its own
        raise InvalidInput(f"study storage {storage!r} cannot be used: {error}") from error
    # The same seed on resume would repeat the samples of the start.
    study.sampler = optuna.samplers.TPESampler(seed=(seed + len(study.trials)) % 2**32)
    return study


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
