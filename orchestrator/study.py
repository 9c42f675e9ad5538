"""The Optuna study: which setting of a criterion trains least and keeps enough quality, over replays."""

import hashlib
import importlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import optuna
import yaml
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator import criteria
from orchestrator.criteria import Criterion
from orchestrator.recording import Recording
from orchestrator.replay import Outcome, Summary, replay
from trainables.errors import InvalidInput
from trainables.settings import TRAIN_IMAGE

NEIGHBOUR_STEP = 0.1
QUALITY, FINGERPRINT = "quality_kept", "dvar.fingerprint"

Params = Mapping[str, float | int]


@dataclass(frozen=True)
class Rule:
    """Fewest iterations such that the mean quality kept over concepts is at least this (paper, section 4.2).

    Attributes:
        quality_kept: share of the best quality over the full budget, 0 (exclusive) to 1.
        measure: the quality that counts.

    Raises:
        InvalidInput: the share is out of range.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}

    quality_kept: float = 0.9
    measure: str = TRAIN_IMAGE

    def __post_init__(self) -> None:
        if not 0 < self.quality_kept <= 1:
            raise InvalidInput(f"quality_kept must lie above 0 and at most at 1, got {self.quality_kept}")


@dataclass(frozen=True)
class Evaluation:
    """A setting, replayed on every recording.

    Attributes:
        params: the criterion's parameters.
        outcomes: one a recording, in their order.
        figures: the outcomes over concepts.
        quality_kept: mean over concepts.
        feasible: whether that satisfies the rule.
    """

    params: Params
    outcomes: tuple[Outcome, ...]
    figures: Summary
    quality_kept: float
    feasible: bool

    @property
    def rank(self) -> tuple[float, float, float]:
        """Lower is better; see `_rank`."""
        return _rank(self.figures.iterations.mean, self.quality_kept, self.feasible)


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes:
        criterion: the criterion's name.
        rule: what was asked for.
        budget: optimizer steps of a full-length run.
        best: the best setting; none of its neighbours, and no trial, is better.
        paper: the paper's setting, scaled to the budget.
        neighbours: the settings around the best one, each parameter 10 % lower, the same or 10 % higher.
        study_name: of the Optuna study.
        trials: settings that the Optuna study holds.
    """

    criterion: str
    rule: Rule
    budget: int
    best: Evaluation
    paper: Evaluation
    neighbours: tuple[Evaluation, ...]
    study_name: str
    trials: int

    @property
    def params(self) -> Params:
        """The best setting."""
        return self.best.params

    @property
    def feasible(self) -> bool:
        """Whether the best setting satisfies the rule; if not, no setting that was tried does."""
        return self.best.feasible

    @property
    def share_saved(self) -> float:
        """Mean share of the budget that the best setting saves, 0..1."""
        return 1 - self.best.figures.share.mean

    @property
    def tuned_on(self) -> tuple[str, ...]:
        """Names of the concepts, sorted."""
        return tuple(sorted({outcome.concept for outcome in self.best.outcomes}))


def tune(
    recordings: Sequence[Recording],
    *,
    criterion: str = "dvar",
    trials: int = 200,
    quality_kept: float = 0.9,
    measure: str = TRAIN_IMAGE,
    seed: int = 0,
    storage: str | None = None,
    study_name: str | None = None,
    on_trial: Callable[[int], None] | None = None,
) -> StudyResult:
    """Search a criterion's parameters over replays of the recordings, the paper's setting first.

    The best of all trials is the feasible one with the fewest mean iterations, ties by higher quality; when none
    is feasible, the one that keeps most quality. From there the search moves on as long as a neighbour is better.

    Args:
        recordings: complete ones of the tuning concepts, all with the same budget.
        criterion: a criterion's name; `search_spaces` has a module of that name.
        trials: settings to try, in all: a resumed study does what is missing.
        quality_kept: mean share of the best quality to keep, 0 (exclusive) to 1 (paper, section 4.2: 0.9).
        measure: the quality that counts.
        seed: of the sampler.
        storage: an Optuna storage URL, to keep and resume the study; None keeps it in memory.
        study_name: which study of the storage; None derives it from all that determines a trial's outcome.
        on_trial: called after every trial with how many the study holds.

    Raises:
        InvalidInput: recordings, criterion, rule or storage cannot be used, or the study in the storage was made
            from other recordings or another rule.
    """
    if trials < 1:
        raise InvalidInput(f"trials must be at least 1, got {trials}")
    problem = _Problem.of(criterion, recordings, Rule(quality_kept, measure))
    paper = problem.evaluate(problem.paper_setting)  # also finds unusable recordings before anything is stored
    with _quiet_optuna():
        study = _open(storage, study_name or f"{criterion}-{problem.fingerprint}", problem.fingerprint)
        _search(study, problem, trials, seed, on_trial)
        tried = _complete(study)
    winner = min(tried, key=lambda trial: _rank_of(trial, problem.rule))
    best = min(paper, problem.evaluate(winner.params), key=lambda evaluation: evaluation.rank)
    best, neighbours = _settle(problem, best)
    return StudyResult(
        criterion, problem.rule, problem.budget, best, paper, neighbours, study.study_name, trials=len(tried)
    )


@dataclass(frozen=True)
class _Problem:
    """A criterion's search space, the recordings to replay, and the rule."""

    criterion: str
    recordings: tuple[Recording, ...]
    rule: Rule
    space: Mapping[str, BaseDistribution]
    paper_setting: Params

    @classmethod
    def of(cls, criterion: str, recordings: Sequence[Recording], rule: Rule) -> "_Problem":
        budget = _common_budget(recordings)
        ranges = _space_module(criterion)
        method = str(recordings[0].identity.get("method", {}).get("name", ""))
        try:
            space, paper = ranges.space(budget), ranges.paper_setting(method, budget)
        except ValueError as error:
            raise InvalidInput(str(error)) from error
        return cls(criterion, tuple(recordings), rule, space, paper)

    @property
    def budget(self) -> int:
        return self.recordings[0].budget

    @cached_property
    def fingerprint(self) -> str:
        keys = sorted(recording.key for recording in self.recordings)
        facts = [self.criterion, keys, self.rule.quality_kept, self.rule.measure]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def evaluate(self, params: Params) -> Evaluation:
        rule = criteria.load(self.criterion, **params)
        outcomes = tuple(replay(rule, recording, self.rule.measure) for recording in self.recordings)
        figures = Summary.of(outcomes)
        assert figures.quality_kept is not None, "replay refuses recordings without the measure"
        kept = figures.quality_kept.mean
        return Evaluation(dict(params), outcomes, figures, kept, feasible=kept >= self.rule.quality_kept)


def _common_budget(recordings: Sequence[Recording]) -> int:
    if not recordings:
        raise InvalidInput("there are no recordings to tune on; make some with `dvar record`")
    first = recordings[0]
    for other in recordings:
        if other.budget != first.budget:
            raise InvalidInput(
                f"recordings differ in budget: {first.concept!r} has {first.budget} steps, {other.concept!r} has "
                f"{other.budget}; tune on recordings of one budget"
            )
    return first.budget


def _space_module(criterion: str) -> Any:
    if not criterion.isidentifier() or not importlib.util.find_spec(f"search_spaces.{criterion}"):
        known = [name for name in criteria.names() if importlib.util.find_spec(f"search_spaces.{name}")]
        raise InvalidInput(f"criterion {criterion!r} has no search space; those that have: {', '.join(known)}")
    return importlib.import_module(f"search_spaces.{criterion}")


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Keep Optuna from logging a line a trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _open(storage: str | None, name: str, fingerprint: str) -> optuna.Study:
    try:
        study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
    except Exception as error:  # the storage's database driver decides which
        reason = str(error).splitlines()[0]
        raise InvalidInput(f"study storage {storage!r} cannot be used ({reason}); give an Optuna URL") from error
    if study.user_attrs.get(FINGERPRINT, fingerprint) != fingerprint:
        raise InvalidInput(
            f"study {name!r} in {storage!r} was made from other recordings or another rule; choose another name"
        )
    study.set_user_attr(FINGERPRINT, fingerprint)
    return study


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def _search(
    study: optuna.Study, problem: _Problem, trials: int, seed: int, on_trial: Callable[[int], None] | None
) -> None:
    """Bring the study up to `trials` complete trials."""
    done = len(_complete(study))
    study.sampler = optuna.samplers.TPESampler(seed=_sampler_seed(seed, len(study.trials)))
    study.enqueue_trial(dict(problem.paper_setting), skip_if_exists=True)
    for number in range(done + 1, trials + 1):
        _try_next(study, problem)
        if on_trial is not None:
            on_trial(number)


def _try_next(study: optuna.Study, problem: _Problem) -> None:
    """Run one trial: its value is the mean iterations, its constraint the quality that is missing."""
    trial = study.ask(dict(problem.space))
    try:
        evaluation = problem.evaluate(trial.params)
    except BaseException:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        raise
    trial.set_user_attr(QUALITY, evaluation.quality_kept)
    trial.set_constraint(QUALITY, problem.rule.quality_kept - evaluation.quality_kept)
    study.tell(trial, evaluation.figures.iterations.mean)


def _sampler_seed(seed: int, existing: int) -> int:
    # A resumed study that began with the same seed would suggest its first settings again.
    return int(np.random.SeedSequence((seed % 2**32, existing)).generate_state(1)[0])


def _rank(iterations: float, quality: float, feasible: bool) -> tuple[float, float, float]:
    """Order settings: feasible ones first, by iterations, then quality; the others by quality, then iterations."""
    return (0, iterations, -quality) if feasible else (1, -quality, iterations)


def _rank_of(trial: optuna.trial.FrozenTrial, rule: Rule) -> tuple[float, float, float]:
    quality = float(trial.user_attrs[QUALITY])
    return _rank(float(trial.values[0]), quality, quality >= rule.quality_kept)


def _settle(problem: _Problem, best: Evaluation) -> tuple[Evaluation, tuple[Evaluation, ...]]:
    """Move to the best neighbour until none is better; return the setting and its neighbours."""
    while True:
        neighbours = tuple(problem.evaluate(params) for params in _neighbours(best.params, problem.space))
        better = min((best, *neighbours), key=lambda evaluation: evaluation.rank)
        if better is best:
            return best, neighbours
        best = better


def _neighbours(params: Params, space: Mapping[str, BaseDistribution]) -> list[Params]:
    axes = [_around(value, space[name]) for name, value in params.items()]
    settings = [dict(zip(params, values, strict=True)) for values in itertools.product(*axes)]
    return [setting for setting in settings if setting != params]


def _around(value: float | int, distribution: BaseDistribution) -> list[float | int]:
    """Return the values 10 % lower and higher, inside the range, and the value itself between them."""
    if isinstance(distribution, IntDistribution):
        step = max(1, round(NEIGHBOUR_STEP * value))
        return sorted({max(distribution.low, int(value) - step), value, min(distribution.high, int(value) + step)})
    if isinstance(distribution, FloatDistribution):
        low, high = value * (1 - NEIGHBOUR_STEP), value * (1 + NEIGHBOUR_STEP)
        return sorted({max(distribution.low, low), value, min(distribution.high, high)})
    return [value]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class BestFigures(_Strict):
    """Means over the tuning concepts; see `orchestrator.replay.Summary`."""

    iterations: float
    share: float
    quality_kept: float
    seconds: float | None


class BestStudy(_Strict):
    """The Optuna study that a setting comes from."""

    name: str
    trials: int


class Best(_Strict):
    """What best.yaml holds: a setting, what it was chosen by, and what it did there."""

    format: Literal[1]
    criterion: str
    params: dict[str, int | float]
    feasible: bool
    rule: Rule
    tuned_on: list[str]
    budget: int
    mean: BestFigures
    study: BestStudy

    @classmethod
    def of(cls, result: StudyResult) -> "Best":
        """Take from a study's result what is kept."""
        figures = result.best.figures
        return cls(
            format=1,
            criterion=result.criterion,
            params=dict(result.params),
            feasible=result.feasible,
            rule=result.rule,
            tuned_on=list(result.tuned_on),
            budget=result.budget,
            mean=BestFigures(
                iterations=figures.iterations.mean,
                share=figures.share.mean,
                quality_kept=result.best.quality_kept,
                seconds=None if figures.seconds is None else figures.seconds.mean,
            ),
            study=BestStudy(name=result.study_name, trials=result.trials),
        )

    def make(self) -> Criterion:
        """Make the criterion.

        Raises:
            InvalidInput: it is not known here, or refuses its parameters.
        """
        return criteria.load(self.criterion, **self.params)


def write_best(result: StudyResult, path: Path) -> Best:
    """Write the best setting as YAML, whole or not at all, and return what was written.

    Raises:
        InvalidInput: the file cannot be written.
    """
    best = Best.of(result)
    text = yaml.safe_dump(best.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InvalidInput(f"{path} cannot be written: {error.strerror}; choose another place") from error
    return best


def read_best(path: Path) -> Best:
    """Read what `write_best` wrote.

    Raises:
        InvalidInput: the file is missing, damaged, or has unknown, missing or wrong values; the message names them.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} is not there; make it with `dvar tune`") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}); make it anew with `dvar tune`") from error
    try:
        return Best.model_validate(values)
    except ValidationError as error:
        reasons = "; ".join(f"{_dotted(item['loc'])}: {item['msg']}" for item in error.errors())
        raise InvalidInput(f"{path} is not understood: {reasons}. Make it anew with `dvar tune`") from error


def _dotted(location: Sequence[str | int]) -> str:
    return ".".join(map(str, location)) or "the file"
