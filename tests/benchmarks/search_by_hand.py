"""A search as written by hand: Ray Tune trains every suggestion of its OptunaSearch for real.

The trainable must live in a module that workers can import: Ray pickles it by name.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from statistics import fmean

import torch
from long_benchmark import WORKERS
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from orchestrator import plugins
from orchestrator.config.experiment import Experiment
from orchestrator.criteria import DVAR
from search_spaces import dvar
from trainables.data.concept import Concept
from trainables.methods import MethodSpec
from trainables.settings import TRAIN_IMAGE
from trainables.training.config import RunConfig
from trainables.training.run import Models, TrainingRun
from trainables.training.sinks import NO_SCORES, StepRow


@dataclass(frozen=True)
class SearchSide:
    """What a side of the comparison spent, and the setting that it chose.

    Attributes:
        name: of the side.
        suggestions: settings that the search asked for.
        feasible: a sentence about how many settings keep enough quality.
        steps: optimizer steps that were trained.
        training, sampling, searching: worker seconds.
        wall: wall seconds, start-up included.
        best: the chosen setting.
        iterations: its mean stop, in steps.
        quality_kept: its mean quality at the stop, as a share of the best of the full run.
    """

    name: str
    suggestions: int
    feasible: str
    steps: int
    training: float
    sampling: float
    searching: float
    wall: float
    best: DVAR
    iterations: float
    quality_kept: float

    @property
    def worker_seconds(self) -> float:
        """Seconds of training, sampling and searching."""
        return self.training + self.sampling + self.searching

    def line(self) -> str:
        """Return the row of the table."""
        return (
            f"{self.name:8s} {self.suggestions:>11} {self.steps:>9,} {self.worker_seconds:>10,.0f} {self.wall:>8,.0f}"
            f"  {self.best!r:34s} {self.iterations:>10.1f} {self.quality_kept:>7.1%}"
        )

    def details(self) -> str:
        """Return a sentence about how the worker seconds divide."""
        return (
            f"{self.name}: {self.feasible}; worker seconds: {self.training:,.1f} training "
            f"({1e3 * self.training / self.steps:.0f} ms per step), {self.sampling:,.1f} sampling, "
            f"{self.searching:,.1f} searching"
        )


@dataclass
class Sums:
    """A sink that keeps only the cost of a run and its last scores."""

    steps_done: int = 0
    training: float = 0.0
    sampling: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)

    def started(self, facts: Mapping[str, object]) -> None:
        pass

    def checkpoint_folder(self) -> None:
        return None

    def resumed(self, step: int) -> None:
        pass

    def steps(self, rows: Sequence[StepRow]) -> None:
        self.steps_done += len(rows)
        self.training += sum(row.seconds + row.l_det_seconds for row in rows)

    def snapshot(
        self,
        step: int,
        scores: Mapping[str, float],
        seconds: Mapping[str, float],
        files: Path,
        repeated_scores: Mapping[str, Sequence[float]] = NO_SCORES,
    ) -> None:
        self.scores = scores
        self.sampling += sum(seconds.values())

    def checkpoint(self, step: int, files: Path) -> None:
        pass

    def ended(self, state: str, reason: str, trace: str = "") -> None:
        pass


@dataclass(frozen=True)
class Suggestion:
    """A setting that was trained on every concept: means over the concepts, and sums of steps and seconds."""

    objective: float
    iterations: float
    quality_kept: float
    steps: int
    training: float
    sampling: float
    window: int
    threshold: float


class ByHand(tune.Trainable):
    """A trial trains every concept in turn under a suggestion; its actor keeps the models for the next trial."""

    def setup(
        self,
        config: Mapping[str, float],
        run_config: RunConfig,
        concepts: Sequence[Concept],
        best: Mapping[str, float],
        kept: float,
    ) -> None:
        torch.set_num_threads(1)  # as in `trainables.training.personalization`: other threads, other sums, other stops
        self._run_config, self._concepts, self._best, self._kept = run_config, concepts, best, kept
        self._models = Models.load(run_config)
        self.reset_config(config)

    def reset_config(self, new_config: Mapping[str, float]) -> bool:
        self._criterion = DVAR(new_config["window"], round(new_config["threshold"], 2))
        return True

    def step(self) -> dict[str, object]:
        sums = {concept.name: self._train(concept) for concept in self._concepts}
        iterations = fmean(run.steps_done for run in sums.values())
        kept = fmean(run.scores[TRAIN_IMAGE] / self._best[name] for name, run in sums.items())
        lacks = self._kept - kept
        suggestion = Suggestion(
            objective=iterations if lacks <= 0 else self._run_config.budget * (1 + lacks),
            iterations=iterations,
            quality_kept=kept,
            steps=sum(run.steps_done for run in sums.values()),
            training=sum(run.training for run in sums.values()),
            sampling=sum(run.sampling for run in sums.values()),
            window=self._criterion.window,
            threshold=self._criterion.threshold,
        )
        return {**asdict(suggestion), "done": True}

    def _train(self, concept: Concept) -> Sums:
        sums = Sums()
        run = TrainingRun(self._models, replace(self._run_config, criterion=self._criterion.online), concept, sums)
        try:
            while run.state == "running":
                run.advance()
        finally:
            run.close()
        return sums


def by_hand(experiment: Experiment, concepts: Sequence[Concept], best: Mapping[str, float], trials: int) -> SearchSide:
    """Train every suggestion for real, as many at a time as there are workers.

    Args:
        experiment: its budget, ranges and limit of quality.
        concepts: to train under each suggestion.
        best: best score of each concept's full-length run.
        trials: number of suggestions.

    Raises:
        Exception: that of the first trial that failed.
    """
    begun = time.perf_counter()
    trainable = tune.with_parameters(
        ByHand,
        run_config=_run_config(experiment),
        concepts=[replace(concept, validation_prompts=()) for concept in concepts],
        best=best,
        kept=experiment.study.quality_kept,
    )
    search = OptunaSearch(dvar.space(experiment.budget), metric="objective", mode="min", seed=experiment.seed)
    results = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=search, num_samples=trials, max_concurrent_trials=WORKERS, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name="by-hand",
            storage_path=str(Path(experiment.storage) / "ray"),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()
    wall = time.perf_counter() - begun
    if results.errors:
        raise results.errors[0]
    names = [each.name for each in fields(Suggestion)]
    suggestions = [Suggestion(**{name: result.metrics[name] for name in names}) for result in results]
    return _side(suggestions, wall, experiment.study.quality_kept)


def _run_config(experiment: Experiment) -> RunConfig:
    """Return what a recording does, without the samples on the way and the checkpoints."""
    method = experiment.method
    return RunConfig(
        base_model=experiment.base_model,
        method=MethodSpec(plugins.METHODS.spec(method.name), method.settings, method.recipe),
        budget=experiment.budget,
        seed=experiment.seed,
        fixed_batch=experiment.fixed_batch,
        quality=replace(experiment.quality, every=None),
        report_seconds=math.inf,
        checkpoint_seconds=math.inf,
    )


def _side(suggestions: Sequence[Suggestion], wall: float, kept: float) -> SearchSide:
    best = min(suggestions, key=lambda suggestion: (suggestion.objective, -suggestion.quality_kept))
    settings = {(suggestion.window, suggestion.threshold) for suggestion in suggestions}
    feasible = {(each.window, each.threshold) for each in suggestions if each.quality_kept >= kept}
    return SearchSide(
        name="by hand",
        suggestions=len(suggestions),
        feasible=f"{len(feasible)} of {len(settings)} settings keep enough",
        steps=sum(suggestion.steps for suggestion in suggestions),
        training=sum(suggestion.training for suggestion in suggestions),
        sampling=sum(suggestion.sampling for suggestion in suggestions),
        searching=0.0,
        wall=wall,
        best=DVAR(best.window, best.threshold),
        iterations=best.iterations,
        quality_kept=best.quality_kept,
    )
