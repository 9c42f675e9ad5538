"""Benchmark: criteria tuned on some concepts of a method and applied to others, and settings transferred to others."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from orchestrator import criteria
from orchestrator.criteria import Criterion, FewIterations, Never
from orchestrator.recordings.recording import Recording
from orchestrator.replay.aggregate import mean_by_concept
from orchestrator.replay.outcome import Outcome, Summary
from orchestrator.replay.replay import replay
from orchestrator.study.objective import Objective
from orchestrator.study.replayed import Study
from orchestrator.study.result import TrialResult
from orchestrator.study.robustness import Robustness, assess
from orchestrator.study.search_space import Params
from search_spaces.windows import rescaled
from trainables.errors import InvalidInput
from trainables.settings import LDetSchedule

CLIP_S, DVAR = "clip_score", "dvar"
#: Cheaper evaluations of L_det: steps between two of them, and inputs that each takes in turn.
STRIDES, INPUTS = (1, 2, 3, 4, 5, 8, 10, 15, 20, 25), (4, 2, 1)


@dataclass(frozen=True)
class SearchConfig:
    """By which objective settings are chosen, and how they are searched: the same for every criterion.

    Attributes:
        objective: how a setting is judged.
        trials: number of settings that each criterion's study tries.
        seed: of the sampler.
        fixed: for a criterion, parameters that stay as they are.
    """

    objective: Objective = field(default_factory=Objective)
    trials: int = 100
    seed: int = 0
    fixed: Mapping[str, Params] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return the values by the names that experiments and MLflow have for them."""
        return {
            "quality_kept": self.objective.quality_kept,
            "measure": self.objective.metric,
            "cost": self.objective.cost,
            "trials": self.trials,
            "seed": self.seed,
            "fixed": {name: dict(params) for name, params in self.fixed.items()},
        }


@dataclass(frozen=True)
class BenchmarkRow:
    """How a criterion does on the concepts of a method that its setting was not chosen on.

    Attributes:
        method: of the recordings.
        label: "full", "usual" (the paper's setting, or the method's defaults), "mean" and "most" (the steps that CLIP-s
            needed), or "tuned".
        criterion: with its setting.
        tuning: over the tuning concepts.
        test: over the others.
        below: share of the latter that keep less quality than the objective demands, 0..1.
        robustness: how far the choice depends on its concepts; None for a setting that was not searched.
    """

    method: str
    label: str
    criterion: Criterion
    tuning: Summary
    test: Summary
    below: float
    robustness: Robustness | None

    def metrics(self) -> dict[str, float]:
        """Return what was measured, by name: means over concepts, and of a searched setting the leave-one-out means."""
        metrics = {"below": self.below}
        for part, summary in (("tuning", self.tuning), ("test", self.test)):
            metrics |= {f"{part}_{name}": spread.mean for name, spread in summary.spreads().items()}
        if self.robustness and self.robustness.left_out:
            metrics |= {
                "left_out_cost": self.robustness.left_out_cost,
                "left_out_quality": self.robustness.left_out_quality,
            }
        return metrics


@dataclass(frozen=True)
class Transfer:
    """A setting of one method used on another's test concepts, its steps scaled to the other budget.

    Attributes:
        source: the method that the setting was tuned on.
        target: the method that it is used on.
        criterion: with the scaled setting.
        test: over the target's test concepts.
    """

    source: str
    target: str
    criterion: Criterion
    test: Summary


@dataclass(frozen=True)
class CheaperSchedule:
    """A DVAR whose L_det is evaluated less often, or on a few inputs in turn.

    Attributes:
        l_det_schedule: when, and on how many inputs, L_det is evaluated.
        inputs: number of inputs per evaluation, also where these are all.
        cost: number of losses evaluated, as a share of those of every input after every step.
        moved: median over the test concepts of how far the stop moves, as a share of the full evaluation's step.
    """

    l_det_schedule: LDetSchedule
    inputs: int
    cost: float
    moved: float


class Benchmark:
    """Tunes criteria on some concepts of a method, and applies them to others.

    Example:
        >>> from orchestrator.recordings.collection import by_method, read_place
        >>> recordings = by_method(read_place("builtin"), "builtin", ["svdiff"])["svdiff"]
        >>> benchmark = Benchmark("svdiff", recordings[:4], recordings[4:8], SearchConfig(trials=10))
        >>> row = benchmark.tune("few_iterations")
        >>> row.criterion.steps == row.test.iterations.mean
        True

    Args:
        method: personalization method of the recordings, with the base model where there are several.
        tuning: complete recordings of the concepts on which settings are chosen, all of one budget.
        test: complete recordings of others, of the same budget.
        search: how settings are searched and judged.

    Raises:
        InvalidInput: there is no test concept, budgets differ, or a concept is on both sides.
    """

    def __init__(
        self, method: str, tuning: Sequence[Recording], test: Sequence[Recording], search: SearchConfig
    ) -> None:
        self.method, self._tuning, self._test, self._search = method, tuple(tuning), tuple(test), search
        if not test:
            raise InvalidInput(
                f"{method}: every concept is a tuning concept, so none is left to test a setting on; give the names or "
                "the number of the tuning concepts with --tuning"
            )
        both = {recording.concept for recording in tuning} & {recording.concept for recording in test}
        if both:
            raise InvalidInput(f"{method}: {', '.join(sorted(both))} would both tune and test")
        budgets = {recording.budget for recording in (*tuning, *test)}
        if len(budgets) > 1:
            raise InvalidInput(
                f"{method}: the recordings have different budgets ({', '.join(map(str, sorted(budgets)))})"
            )
        self.budget = budgets.pop()
        self._tuned: dict[str, TrialResult] = {}

    def evaluate_references(self) -> list[BenchmarkRow]:
        """Return what needs no search: the full budget, DVAR and CLIP-s by default, and the steps that CLIP-s needed.

        The last two rows stop after the mean, and the maximum, of the steps that CLIP-s needed on the tuning concepts.
        """
        clip_s = self._study(CLIP_S).evaluate_default(CLIP_S)
        stops = [outcome.stop_step for outcome in clip_s.outcomes]
        return [
            self.evaluate("full", Never()),
            self.evaluate("usual", self._study(DVAR).evaluate_default(DVAR).criterion),
            self.evaluate("usual", clip_s.criterion),
            self.evaluate("mean", FewIterations(round(fmean(stops)))),
            self.evaluate("most", FewIterations(max(stops))),
        ]

    def tune(self, name: str, fixed: Params | None = None) -> BenchmarkRow:
        """Search a criterion's setting on the tuning concepts, and apply it to the others.

        Args:
            name: of the criterion.
            fixed: parameters that stay as they are; a setting that was searched beside them is neither transferred nor
                made cheaper.
        """
        search = self._search
        result = self._study(name, fixed).search(search.trials, seed=search.seed)
        if not fixed:
            self._tuned[name] = result.best
        return self.evaluate("tuned", result.best.criterion, assess(result))

    def evaluate(self, label: str, criterion: Criterion, robustness: Robustness | None = None) -> BenchmarkRow:
        """Replay a criterion over the tuning and the test concepts.

        Args:
            label: see `BenchmarkRow`.
            criterion: with its setting.
            robustness: of a searched setting.
        """
        outcomes = self._outcomes(criterion, self._test)
        return BenchmarkRow(
            method=self.method,
            label=label,
            criterion=criterion,
            tuning=Summary.of(self._outcomes(criterion, self._tuning)),
            test=Summary.of(outcomes),
            below=self._share_below(outcomes),
            robustness=robustness,
        )

    def transfer_from(self, source: "Benchmark", name: str) -> Transfer:
        """Apply the setting of a criterion that another benchmark has tuned.

        Raises:
            KeyError: `source` has not tuned that criterion.
        """
        params = rescaled(source._tuned[name].params, source.budget, self.budget)
        criterion = criteria.load(name, **params)
        outcomes = self._outcomes(criterion, self._test)
        return Transfer(source.method, self.method, criterion, Summary.of(outcomes))

    @property
    def has_initial_losses(self) -> bool:
        """Whether every recording has the losses before the first step, which recordings of old versions lack."""
        return all(recording.facts.get("initial_losses") for recording in (*self._tuning, *self._test))

    def default_and_tuned_dvar(self) -> tuple[criteria.DVAR, criteria.DVAR]:
        """Return DVAR with its default setting, and with the tuned setting.

        Raises:
            KeyError: DVAR was not tuned.
        """
        default, tuned = self._study(DVAR).evaluate_default(DVAR).criterion, self._tuned[DVAR].criterion
        assert isinstance(default, criteria.DVAR)
        assert isinstance(tuned, criteria.DVAR)
        return default, tuned

    def cheaper_schedules(self, dvar: criteria.DVAR) -> list[CheaperSchedule]:
        """Return how far cheaper evaluations of L_det move the stop of a DVAR, the cheapest first, the full last."""
        total = min(recording.steps.input_losses.shape[1] for recording in self._test)
        in_part = tuple(inputs for inputs in INPUTS if inputs < total) if self.has_initial_losses else ()
        full_stops = [outcome.stop_step for outcome in self._outcomes(dvar, self._test)]
        schedules = []
        for stride, inputs in itertools.product(STRIDES, (total, *in_part)):
            if 2 * stride > dvar.window:
                continue
            cheaper = dataclasses.replace(dvar, stride=stride, inputs=inputs if inputs < total else None)
            stops = [outcome.stop_step for outcome in self._outcomes(cheaper, self._test)]
            moved = median(abs(stop - full) / full for stop, full in zip(stops, full_stops, strict=True))
            schedules.append(CheaperSchedule(cheaper.l_det_schedule, inputs, inputs / total / stride, moved))
        return sorted(schedules, key=lambda schedule: schedule.cost)

    def _study(self, name: str, fixed: Params | None = None) -> Study:
        params = {**self._search.fixed.get(name, {}), **(fixed or {})}
        return Study(
            self._tuning,
            names=[name],
            method=self._tuning[0].identity.method,
            objective=self._search.objective,
            fixed={name: params} if params else None,
        )

    def _outcomes(self, criterion: Criterion, recordings: Sequence[Recording]) -> list[Outcome]:
        return [replay(criterion, recording, self._search.objective.metric) for recording in recordings]

    def _share_below(self, outcomes: Sequence[Outcome]) -> float:
        kept = [outcome.quality_kept for outcome in outcomes if outcome.quality_kept is not None]
        means = mean_by_concept([outcome.concept for outcome in outcomes], kept)
        return fmean(float(mean) < self._search.objective.quality_kept for mean in means.values())


def transfers(benchmarks: Sequence[Benchmark], name: str) -> list[Transfer]:
    """Return how the setting of each method that tuned a criterion does on the test concepts of every method."""
    return [target.transfer_from(source, name) for source in benchmarks for target in benchmarks]


ProgressCallback = Callable[[str, str], None]


def run_benchmark(
    methods: Mapping[str, tuple[Sequence[Recording], Sequence[Recording]]],
    names: Sequence[str],
    search: SearchConfig,
    on_search: ProgressCallback = lambda method, name: None,
) -> tuple[list[Benchmark], list[BenchmarkRow]]:
    """Benchmark criteria on every method.

    Args:
        methods: each with its tuning recordings and its test recordings.
        names: of the criteria.
        search: how settings are searched and judged.
        on_search: called with method and criterion before each criterion is searched.

    Returns:
        One benchmark per method, and the rows of all: the references and the tuned criteria.

    Raises:
        InvalidInput: the recordings of a method cannot serve, see `Benchmark`.
    """
    benchmarks, rows = [], []
    for method, (tuning, test) in methods.items():
        benchmark = Benchmark(method, tuning, test, search)
        rows += benchmark.evaluate_references()
        for name in names:
            on_search(method, name)
            rows.append(benchmark.tune(name))
            if name == DVAR and benchmark.has_initial_losses and "relative" not in search.fixed.get(DVAR, {}):
                rows.append(benchmark.tune(name, {"relative": True}))
        benchmarks.append(benchmark)
    return benchmarks, rows
