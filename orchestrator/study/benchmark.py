"""Benchmark: criteria tuned on some concepts and applied to others, and the transfer of settings across methods."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from orchestrator import criteria
from orchestrator.criteria import Criterion, FewIterations, Never
from orchestrator.recordings.recording import Recording
from orchestrator.replay.aggregate import over_seeds
from orchestrator.replay.replay import Outcome, Summary, replay
from orchestrator.study.replayed import Study
from orchestrator.study.result import Objective, TrialResult
from orchestrator.study.robustness import Robustness, assess
from orchestrator.study.search_space import Params
from search_spaces.windows import rescaled
from trainables.errors import InvalidInput
from trainables.settings import LDetSchedule

CLIP_S, DVAR = "clip_score", "dvar"
#: Cheaper evaluations of L_det: steps between evaluations, and inputs per evaluation, taken in turn.
STRIDES, TAKEN = (1, 2, 3, 4, 5, 8, 10, 15, 20, 25), (4, 2, 1)


@dataclass(frozen=True)
class SearchConfig(Objective):
    """The objective, and how settings are searched; the same for every criterion.

    Attributes:
        trials: number of settings that each criterion's study tries.
        seed: of the sampler.
        fixed: for each criterion, the settings that are not searched.
    """

    trials: int = 100
    seed: int = 0
    fixed: Mapping[str, Params] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchmarkRow:
    """A criterion's outcomes on a method's tuning concepts, and on the test concepts, which its setting never saw.

    Attributes:
        method: name of the method.
        label: "full", "usual" (default parameters: the paper's or the method's), "mean" and "most" (the steps that
            CLIP-s needed), or "tuned".
        criterion: with its setting.
        tuning: summary over the tuning concepts.
        test: summary over the test concepts.
        below: share of the test concepts that keep less quality than the objective requires, 0..1.
        robustness: how strongly the choice depends on its concepts; None for a setting that was not searched.
    """

    method: str
    label: str
    criterion: Criterion
    tuning: Summary
    test: Summary
    below: float
    robustness: Robustness | None

    def metrics(self) -> dict[str, float]:
        """Return the means of everything that was measured, by name; what was not measured is absent."""
        metrics = {"below": self.below}
        for part, summary in (("tuning", self.tuning), ("test", self.test)):
            spreads = {name: getattr(summary, name) for name in ("iterations", "share", "seconds", "quality_kept")}
            metrics |= {f"{part}_{name}": spread.mean for name, spread in spreads.items() if spread}
        if self.robustness and self.robustness.left_out:
            metrics |= {
                "left_out_cost": self.robustness.left_out_cost,
                "left_out_quality": self.robustness.left_out_quality,
            }
        return metrics


@dataclass(frozen=True)
class Transfer:
    """A setting tuned on a source method and used on a target method's test concepts.

    Attributes:
        source, target: names of the methods.
        criterion: with the setting, whose steps are scaled to the target's budget.
        test: summary over the target's test concepts.
    """

    source: str
    target: str
    criterion: Criterion
    test: Summary


@dataclass(frozen=True)
class Cheaper:
    """A DVAR whose L_det is evaluated less often, or on a few inputs in turn.

    Attributes:
        l_det_schedule: how L_det is evaluated.
        inputs_at_once: inputs per evaluation.
        cost: number of evaluated losses, as a share of evaluating every input after every step.
        moved: median over the test runs of how far the stop moves, as a share of the stop under full evaluation.
    """

    l_det_schedule: LDetSchedule
    inputs_at_once: int
    cost: float
    moved: float


class Benchmark:
    """Tunes criteria on some concepts of a method, and applies them to others.

    Args:
        method: personalization method of the recordings, followed by the base model if there are several.
        tuning: complete recordings of the concepts on which settings are chosen, all with the same budget.
        test: complete recordings of other concepts, with that budget.
        objective: how settings are judged and searched.

    Raises:
        InvalidInput: there is no test concept, budgets differ, or a concept is on both sides.
    """

    def __init__(
        self, method: str, tuning: Sequence[Recording], test: Sequence[Recording], objective: SearchConfig
    ) -> None:
        self.method, self._tuning, self._test, self._objective = method, tuple(tuning), tuple(test), objective
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

    def references(self) -> list[BenchmarkRow]:
        """Return the rows that need no search.

        These are the full budget, DVAR and CLIP-s with their default parameters, and fixed steps: the mean and the
        maximum of what CLIP-s needed on the tuning concepts.
        """
        clip_s = self._study(CLIP_S).defaults(CLIP_S)
        stops = [outcome.stop_step for outcome in clip_s.outcomes]
        return [
            self._prove("full", Never()),
            self._prove("usual", self._study(DVAR).defaults(DVAR).criterion),
            self._prove("usual", clip_s.criterion),
            self._prove("mean", FewIterations(round(fmean(stops)))),
            self._prove("most", FewIterations(max(stops))),
        ]

    def tuned(self, name: str, fixed: Params | None = None) -> BenchmarkRow:
        """Search for a criterion's best setting on the tuning concepts, and apply it to the test concepts.

        Args:
            name: of the criterion.
            fixed: settings that are not searched; `carried` and `of_dvar` use only results without any.
        """
        objective = self._objective
        result = self._study(name, fixed).search(objective.trials, seed=objective.seed)
        if not fixed:
            self._tuned[name] = result.best
        return self._prove("tuned", result.best.criterion, assess(result))

    def carried(self, name: str, source: "Benchmark") -> Transfer:
        """Apply the setting that another method's benchmark has tuned, scaled to this budget.

        Raises:
            KeyError: `source` has not tuned that criterion.
        """
        params = rescaled(source._tuned[name].params, source.budget, self.budget)
        criterion = criteria.load(name, **params)
        outcomes = self._outcomes(criterion, self._test)
        return Transfer(source.method, self.method, criterion, Summary.of(outcomes))

    @property
    def knows_the_start(self) -> bool:
        """Whether every recording has the fixed inputs' losses before the first step; old versions lack them."""
        return all(recording.facts.get("initial_losses") for recording in (*self._tuning, *self._test))

    def of_dvar(self) -> tuple[criteria.DVAR, criteria.DVAR]:
        """Return DVAR with its default parameters and with the tuned setting.

        Raises:
            KeyError: DVAR was not tuned.
        """
        defaults, tuned = self._study(DVAR).defaults(DVAR).criterion, self._tuned[DVAR].criterion
        assert isinstance(defaults, criteria.DVAR)
        assert isinstance(tuned, criteria.DVAR)
        return defaults, tuned

    def cheaper(self, dvar: criteria.DVAR) -> list[Cheaper]:
        """Return how far cheaper evaluations of L_det move a DVAR's stop, sorted by cost, up to the full evaluation."""
        inputs = min(recording.steps.input_losses.shape[1] for recording in self._test)
        in_part = tuple(n for n in TAKEN if n < inputs) if self.knows_the_start else ()
        full = [outcome.stop_step for outcome in self._outcomes(dvar, self._test)]
        options = []
        for stride, inputs_at_once in itertools.product(STRIDES, (inputs, *in_part)):
            if 2 * stride > dvar.window:
                continue
            cheaper = dataclasses.replace(
                dvar, stride=stride, inputs=inputs_at_once if inputs_at_once < inputs else None
            )
            outcomes = self._outcomes(cheaper, self._test)
            moved = median(abs(outcome.stop_step - stop) / stop for outcome, stop in zip(outcomes, full, strict=True))
            cost = inputs_at_once / inputs / stride
            options.append(Cheaper(cheaper.l_det_schedule, inputs_at_once, cost, moved))
        return sorted(options, key=lambda option: option.cost)

    def _study(self, name: str, fixed: Params | None = None) -> Study:
        objective = self._objective
        return Study(
            self._tuning,
            names=[name],
            method=self.method.partition(" on ")[0],
            quality_kept=objective.quality_kept,
            measure=objective.measure,
            cost=objective.cost,
            fixed={name: settings} if (settings := {**objective.fixed.get(name, {}), **(fixed or {})}) else None,
        )

    def _prove(self, label: str, criterion: Criterion, robustness: Robustness | None = None) -> BenchmarkRow:
        outcomes = self._outcomes(criterion, self._test)
        return BenchmarkRow(
            method=self.method,
            label=label,
            criterion=criterion,
            tuning=Summary.of(self._outcomes(criterion, self._tuning)),
            test=Summary.of(outcomes),
            below=self._below(outcomes),
            robustness=robustness,
        )

    def _outcomes(self, criterion: Criterion, recordings: Sequence[Recording]) -> tuple[Outcome, ...]:
        return tuple(replay(criterion, recording, self._objective.measure) for recording in recordings)

    def _below(self, outcomes: Sequence[Outcome]) -> float:
        kept = [outcome.quality_kept for outcome in outcomes if outcome.quality_kept is not None]
        by_concept = over_seeds([outcome.concept for outcome in outcomes], kept)
        return fmean(mean < self._objective.quality_kept for mean in by_concept.values())


def transfers(benchmarks: Sequence[Benchmark], name: str) -> list[Transfer]:
    """Return the outcome of each method's tuned setting of a criterion on the test concepts of every method.

    Raises:
        KeyError: a benchmark has not tuned that criterion.
    """
    return [target.carried(name, source) for source in benchmarks for target in benchmarks]


ProgressCallback = Callable[[str, str], None]


def run_benchmark(
    methods: Mapping[str, tuple[Sequence[Recording], Sequence[Recording]]],
    names: Sequence[str],
    objective: SearchConfig,
    on_search: ProgressCallback = lambda method, name: None,
) -> tuple[list[Benchmark], list[BenchmarkRow]]:
    """Tune criteria on every method and apply them to its test concepts.

    Args:
        methods: each with its tuning recordings and its test recordings.
        names: of the criteria.
        objective: how settings are judged and searched.
        on_search: called with method and criterion before each criterion is searched.

    Returns:
        A benchmark per method, and all rows in the order of methods.

    Raises:
        InvalidInput: the recordings of a method or a criterion cannot serve.
    """
    benchmarks, rows = [], []
    for method, (tuning, test) in methods.items():
        benchmark = Benchmark(method, tuning, test, objective)
        rows += benchmark.references()
        for name in names:
            on_search(method, name)
            rows.append(benchmark.tuned(name))
            if name == DVAR and benchmark.knows_the_start and "relative" not in objective.fixed.get(DVAR, {}):
                rows.append(benchmark.tuned(name, {"relative": True}))
        benchmarks.append(benchmark)
    return benchmarks, rows
