"""What a study results in: every setting that was tried, judged by its objective."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING

import optuna

from orchestrator.criteria import Criterion
from orchestrator.replay.aggregate import mean_by_concept
from orchestrator.replay.outcome import Outcome, Summary
from orchestrator.study.objective import Objective
from orchestrator.study.search_space import Params
from trainables.errors import InvalidInput

if TYPE_CHECKING:
    from orchestrator.runs.spec import RunResult
    from orchestrator.study.recommendation import Comparison


@dataclass(frozen=True)
class TrialResult:
    """A setting of a criterion, and how it did on the recordings.

    Attributes:
        name: of the criterion.
        criterion: with the setting.
        params: the setting.
        outcomes: one per recording.
        costs: of each concept, what the study saves, in optimizer steps or in seconds; averaged over the seeds.
        kept: of each concept, the share of the best quality that is kept, likewise.
        share_below: share of the concepts that keep less than the target, 0..1.
        shortfall: by how much it falls short of what the objective demands, see `Objective.shortfall`.
        is_feasible: whether it keeps as much quality as the objective demands; in an ordered family, whether every
            later setting does so, too.
    """

    name: str
    criterion: Criterion
    params: Params
    outcomes: tuple[Outcome, ...]
    costs: tuple[float, ...]
    kept: tuple[float, ...]
    share_below: float
    shortfall: float
    is_feasible: bool

    @cached_property
    def summary(self) -> Summary:
        """Of the outcomes."""
        return Summary.of(self.outcomes)

    @cached_property
    def cost(self) -> float:
        """Mean over concepts of what the study saves, in optimizer steps or in seconds."""
        return fmean(self.costs)

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names of the concepts, in the order of `costs` and `kept`."""
        return tuple(dict.fromkeys(outcome.concept for outcome in self.outcomes))

    @property
    def iterations(self) -> float:
        """Mean number of optimizer steps at the stop, over concepts."""
        return self.summary.iterations.mean

    @property
    def quality_kept(self) -> float:
        """Mean share of the best quality that is kept, over concepts."""
        return fmean(self.kept)

    @property
    def rank(self) -> tuple[float, float, float]:
        """Sorts the better setting first: feasible before not, then the lower cost, then more quality."""
        if self.is_feasible:
            return (0.0, self.cost, -self.quality_kept)
        return (1.0, self.shortfall, self.cost)

    def number(self, name: str) -> float:
        """Return a parameter of the setting that is a number.

        Raises:
            TypeError: it is something else.
        """
        value = self.params[name]
        if not isinstance(value, int | float):
            raise TypeError(f"{name} of {self.criterion!r} is no number but {value!r}")
        return value


def judge(
    objective: Objective, name: str, params: Params, criterion: Criterion, outcomes: Sequence[Outcome]
) -> TrialResult:
    """Sum up how a setting did on every concept.

    Args:
        objective: how settings are judged.
        name: of the criterion.
        params: the setting.
        criterion: with the setting.
        outcomes: at least one, each with its quality.

    Raises:
        InvalidInput: seconds are the cost, but were not measured; or the concepts are too few for what the objective
            promises.
    """
    if objective.cost == "seconds" and any(outcome.seconds is None for outcome in outcomes):
        raise InvalidInput("a recording lacks measured seconds; use iterations as the cost, or record it again")
    kept = by_concept(outcomes, "quality_kept")
    return TrialResult(
        name=name,
        criterion=criterion,
        params=params,
        outcomes=tuple(outcomes),
        costs=by_concept(outcomes, "stop_step" if objective.cost == "iterations" else "seconds"),
        kept=kept,
        share_below=float(objective.falls_below(kept).mean()),
        shortfall=float(objective.shortfall(kept)),
        is_feasible=bool(objective.feasible([kept])[0]),
    )


def marked(objective: Objective, results: Sequence[TrialResult]) -> tuple[TrialResult, ...]:
    """Return settings that are feasible only as the objective demands of all of them together.

    Args:
        objective: how settings are judged.
        results: of a criterion; for "reliable" ordered from late stops to early ones.
    """
    feasible = objective.feasible([result.kept for result in results])
    return tuple(replace(result, is_feasible=bool(ok)) for result, ok in zip(results, feasible, strict=True))


def by_concept(outcomes: Sequence[Outcome], value: str) -> tuple[float, ...]:
    """Return a value of each concept, averaged over its seeds, in order of its first outcome."""
    means = mean_by_concept(
        [outcome.concept for outcome in outcomes], [getattr(outcome, value) for outcome in outcomes]
    )
    return tuple(float(mean) for mean in means.values())


def tell(objective: Objective, study: optuna.Study, trial: optuna.Trial, result: TrialResult) -> None:
    """Tell Optuna how a setting did: its cost, and what it keeps as the second objective or as a constraint."""
    if len(study.directions) > 1:
        study.tell(trial, [result.cost, -result.share_below if objective.is_reliable else result.quality_kept])
        return
    # By how much it falls short of what is demanded; negative where it keeps more.
    trial.set_constraint("quality_kept", result.shortfall)
    study.tell(trial, result.cost)


@dataclass(frozen=True)
class StudyResult:
    """What a study results in.

    Attributes:
        objective: how settings were judged.
        budget: optimizer steps of the recordings.
        trials: number of settings that were tried, of the criteria that were searched.
        best: of the settings that were tried, and those around the best where they are replayed; infeasible only when
            all are. Where a fixed number of steps is among the criteria, another is the best only if it is really
            cheaper, see `Comparison`.
        default_results: for each criterion, the setting that was tried first: the paper's, or the method's, scaled; in
            a live study, those of them whose runs succeeded.
        neighbours: the settings around the best; empty in a live study.
        tried: every setting that was evaluated, once.
        references: of a fixed number of steps, and of steps per image, what the same objective chooses on the same
            concepts, where they are not searched anyway.
        comparisons: for each criterion that watches something, how it compares with the fixed number.
        sampled: what the sampler found before the plane was searched exactly; None where it was not.
        needed_steps: of each concept, the first step at which it keeps the target; None where none does.
        failed: runs of a live study that failed; their settings were not judged.
    """

    objective: Objective
    budget: int
    trials: int
    best: TrialResult
    default_results: tuple[TrialResult, ...]
    neighbours: tuple[TrialResult, ...]
    tried: tuple[TrialResult, ...]
    references: tuple[TrialResult, ...] = ()
    comparisons: "Mapping[str, Comparison]" = field(default_factory=dict)
    sampled: TrialResult | None = None
    needed_steps: tuple[int | None, ...] = ()
    failed: "tuple[RunResult, ...]" = ()

    @property
    def name(self) -> str:
        """The criterion that the best setting is of."""
        return self.best.name

    def best_of_each(self) -> tuple[TrialResult, ...]:
        """Return the best setting of every criterion, the best first."""
        best: dict[str, TrialResult] = {self.best.name: self.best}
        for result in self.tried:
            if result.name not in best or (result.name != self.best.name and result.rank < best[result.name].rank):
                best[result.name] = result
        return (self.best, *sorted(list(best.values())[1:], key=lambda result: result.rank))

    def front(self) -> tuple[TrialResult, ...]:
        """Return the settings that no other beats, the cheapest first.

        They are compared by cost and, for "reliable", by the share of concepts under the target, else by the quality
        kept.
        """
        front: list[TrialResult] = []
        for result in sorted(self.tried, key=lambda result: (result.cost, -self._worth(result))):
            if not front or self._worth(result) > self._worth(front[-1]):
                front.append(result)
        return tuple(front)

    def _worth(self, result: TrialResult) -> float:
        return -result.share_below if self.objective.is_reliable else result.quality_kept


class TrialHistory:
    """The settings that a study has evaluated so far, each once, and the best of them: of equals, the first.

    Args:
        results: to begin with.
    """

    def __init__(self, results: Sequence[TrialResult] = ()) -> None:
        self._results: dict[tuple[str, Criterion], TrialResult] = {}
        self._best: TrialResult | None = None
        for result in results:
            self.add(result)

    def add(self, result: TrialResult) -> None:
        """Take in a setting; a setting that is there already stays as it is."""
        self._results.setdefault((result.name, result.criterion), result)
        if self._best is None or result.rank < self._best.rank:
            self._best = result

    @property
    def best(self) -> TrialResult:
        """The best setting; there must be at least one."""
        assert self._best is not None
        return self._best

    def best_of(self, name: str, count: int) -> list[TrialResult]:
        """Return the best settings of a criterion, at most `count` of them, the best first."""
        of_name = (result for result in self._results.values() if result.name == name)
        return sorted(of_name, key=lambda result: result.rank)[:count]

    @property
    def all(self) -> tuple[TrialResult, ...]:
        """Every setting, in the order in which they came."""
        return tuple(self._results.values())
