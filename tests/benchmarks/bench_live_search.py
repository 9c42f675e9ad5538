"""Tuning DVAR by training every suggestion for real, as by hand, and by replaying recordings: what each costs.

    python tests/benchmarks/bench_live_search.py --yes [--trials 30] [--budget 160] [--concepts 3]

By hand is what Ray Tune and its OptunaSearch make easy: each trial takes a window and a threshold, and personalizes the
held-out concepts under them. Both sides have the same concepts, seeds, ranges, rule, cluster and threads.
"""

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import ray
import torch
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from orchestrator import plugins
from orchestrator.config import presets
from orchestrator.config.experiment import Experiment
from orchestrator.criteria import DVAR
from orchestrator.recordings.recording import Recording
from orchestrator.replay.replay import Summary, live_outcome
from orchestrator.runs import launch as runs
from orchestrator.study import Objective, Study
from search_spaces import dvar
from trainables.data.concept import Concept
from trainables.methods import MethodSpec
from trainables.settings import TRAIN_IMAGE
from trainables.training.session import Models, Plan, Session
from trainables.training.sinks import StepRow

WORKERS, SEED = 2, 0
NOTICE = "skipped: it trains for about 20 minutes on two cores; to run it: {} --yes"
RULE = """\
Textual Inversion of {budget} steps on the miniature's {names}.
Wanted: fewest mean iterations such that the mean quality kept, {measure} at the stop over the best of the full
run, is at least {kept:.0%}.
by hand: OptunaSearch's TPE; what keeps less counts as budget * (1 + what it lacks), so that all of it ranks behind the
  full run. Samples are drawn at the stop alone, and of the training prompt alone. It is told the best of the full run:
  the recordings that this takes are counted for the replay alone.
replay: full-length recordings with all snapshots and samples, then the study of `dvar tune`. A stop counts with the
  last snapshot up to it, one every {every} steps: where quality still rises, that is less than a live run has there.
Worker seconds are those of steps, L_det and samples on the workers, and of the replay's search; loading models, setting
up a concept, and writing recordings are left out. Wall seconds hold everything.
"""


@dataclass
class Sums:
    """A sink that keeps nothing but what a run cost and the last score."""

    steps_done: int = 0
    training: float = 0.0
    sampling: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)

    def started(self, facts: Mapping[str, Any]) -> None:
        pass

    def checkpoint_folder(self) -> None:
        return None

    def resumed(self, step: int) -> None:
        pass

    def steps(self, rows: Sequence[StepRow]) -> None:
        self.steps_done += len(rows)
        self.training += sum(row.seconds + row.l_det_seconds for row in rows)

    def snapshot(self, step: int, scores: Mapping[str, float], seconds: Mapping[str, float], files: Path) -> None:
        self.scores = scores
        self.sampling += sum(seconds.values())

    def checkpoint(self, step: int, files: Path) -> None:
        pass

    def ended(self, state: str, reason: str, trace: str = "") -> None:
        pass


class ByHand(tune.Trainable):
    """A trial trains every concept in turn under a suggestion; its actor keeps the models for the next one."""

    def setup(
        self, config: dict[str, Any], plan: Plan, concepts: Sequence[Concept], best: Mapping[str, float], kept: float
    ) -> None:
        torch.set_num_threads(1)  # as in `trainables.training.personalization`: other sums, other stops
        self._plan, self._concepts, self._best, self._kept = plan, concepts, best, kept
        self._models = Models.load(plan)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._rule = DVAR(new_config["window"], round(new_config["threshold"], 2))
        return True

    def step(self) -> dict[str, Any]:
        sums = {concept.name: self._train(concept) for concept in self._concepts}
        iterations = fmean(one.steps_done for one in sums.values())
        kept = fmean(one.scores[TRAIN_IMAGE] / self._best[name] for name, one in sums.items())
        lacks = self._kept - kept
        return {
            "objective": iterations if lacks <= 0 else self._plan.budget * (1 + lacks),
            "iterations": iterations,
            "quality_kept": kept,
            "steps": sum(one.steps_done for one in sums.values()),
            "training": sum(one.training for one in sums.values()),
            "sampling": sum(one.sampling for one in sums.values()),
            "window": self._rule.window,
            "threshold": self._rule.threshold,
            "done": True,
        }

    def _train(self, concept: Concept) -> Sums:
        sums = Sums()
        session = Session(self._models, replace(self._plan, criterion=self._rule.online), concept, sums)
        try:
            while session.state == "running":
                session.advance()
        finally:
            session.close()
        return sums


@dataclass(frozen=True)
class Side:
    """What one side spent, and what it found."""

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
        return self.training + self.sampling + self.searching

    def line(self) -> str:
        return (
            f"{self.name:8s} {self.suggestions:>11} {self.steps:>9,} {self.worker_seconds:>10,.0f} {self.wall:>8,.0f}"
            f"  {self.best!r:34s} {self.iterations:>10.1f} {self.quality_kept:>7.1%}"
        )

    def details(self) -> str:
        return (
            f"{self.name}: {self.feasible}; worker seconds: {self.training:,.1f} training "
            f"({1e3 * self.training / self.steps:.0f} ms a step), {self.sampling:,.1f} sampling, "
            f"{self.searching:,.1f} searching"
        )


@contextmanager
def cluster() -> Iterator[None]:
    """Start Ray before anything is timed; both sides use it."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
    }
    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


def record_and_replay(experiment: Experiment, concepts: Sequence[Concept]) -> tuple[Side, list[Recording], Study]:
    """Do what `dvar record` and `dvar tune` do."""
    begun = time.perf_counter()
    recordings = record(experiment, concepts)
    recorded = time.perf_counter()
    settings = experiment.study
    study = Study(recordings, method=experiment.method.name, objective=Objective(settings.quality_kept))
    result = study.search(settings.trials_wanted, seed=SEED)
    ended = time.perf_counter()
    feasible = sum(one.is_feasible for one in result.tried)
    side = Side(
        name="replay",
        suggestions=result.trials,
        feasible=f"{feasible} of {len(result.tried)} settings, neighbours included, keep enough",
        steps=sum(len(one.steps) for one in recordings),
        training=sum(float((one.steps.seconds + one.steps.l_det_seconds).sum()) for one in recordings),
        sampling=sum(float(one.quality.seconds.sum()) for one in recordings),
        searching=ended - recorded,
        wall=ended - begun,
        best=result.best.criterion,
        iterations=result.best.iterations,
        quality_kept=result.best.quality_kept,
    )
    return side, recordings, study


def record(experiment: Experiment, concepts: Sequence[Concept]) -> list[Recording]:
    """Make the full-length recordings and read them."""
    ended = runs.record(experiment, concepts)
    if failed := [one for one in ended if not one.is_good]:
        raise RuntimeError(f"{failed[0].job.concept.name}: {failed[0].reason}")
    store = runs.recordings(experiment)
    return [recording for one in ended if (recording := store.find(one.job.identity))]


def by_hand(experiment: Experiment, concepts: Sequence[Concept], best: Mapping[str, float], trials: int) -> Side:
    """Let every suggestion train for real, as many at once as there are workers."""
    begun = time.perf_counter()
    trainable = tune.with_parameters(
        ByHand,
        plan=plan_by_hand(experiment),
        concepts=[replace(concept, validation_prompts=()) for concept in concepts],
        best=best,
        kept=experiment.study.quality_kept,
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(dvar.space(experiment.budget), metric="objective", mode="min", seed=SEED),
            num_samples=trials,
            max_concurrent_trials=WORKERS,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="by-hand",
            storage_path=str(Path(experiment.storage) / "ray"),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    results = tuner.fit()
    wall = time.perf_counter() - begun
    if results.errors:
        raise results.errors[0]
    return side_by_hand([result.metrics for result in results], wall, experiment.study.quality_kept)


def plan_by_hand(experiment: Experiment) -> Plan:
    """Plan what a recording does, but for the samples on the way and the checkpoints."""
    method = experiment.method
    return Plan(
        base_model=experiment.base_model,
        method=MethodSpec(plugins.METHODS.spec(method.name), method.settings, method.recipe),
        budget=experiment.budget,
        seed=experiment.seed,
        fixed_batch=experiment.fixed_batch,
        quality=replace(experiment.quality, every=None),
        report_seconds=math.inf,
        checkpoint_seconds=math.inf,
    )


def side_by_hand(tried: Sequence[Mapping[str, Any]], wall: float, kept: float) -> Side:
    best = min(tried, key=lambda one: (one["objective"], -one["quality_kept"]))
    settings = {(one["window"], one["threshold"]) for one in tried}
    feasible = {(one["window"], one["threshold"]) for one in tried if one["quality_kept"] >= kept}
    return Side(
        name="by hand",
        suggestions=len(tried),
        feasible=f"{len(feasible)} of {len(settings)} settings keep enough",
        steps=sum(one["steps"] for one in tried),
        training=sum(one["training"] for one in tried),
        sampling=sum(one["sampling"] for one in tried),
        searching=0.0,
        wall=wall,
        best=DVAR(best["window"], best["threshold"]),
        iterations=best["iterations"],
        quality_kept=best["quality_kept"],
    )


def say_what_is_compared(experiment: Experiment, concepts: Sequence[Concept]) -> None:
    print(
        RULE.format(
            names=", ".join(concept.name for concept in concepts),
            budget=experiment.budget,
            measure=TRAIN_IMAGE,
            every=experiment.quality.every,
            kept=experiment.study.quality_kept,
        ),
        flush=True,
    )


def report(hand: Side, replayed: Side) -> None:
    """Print what both sides spent and found, and the ratios."""
    print("side     suggestions     steps  worker s   wall s  best setting                       iterations    kept")
    for side in (hand, replayed):
        print(side.line())
    for side in (hand, replayed):
        print(side.details())
    print(
        f"by hand takes {hand.steps / replayed.steps:.1f} times the optimizer steps, "
        f"{hand.worker_seconds / replayed.worker_seconds:.1f} times the worker seconds and "
        f"{hand.wall / replayed.wall:.1f} times the wall time of the replay"
    )


def report_both_ways(name: str, rule: DVAR, study: Study, live: Summary) -> None:
    """Print a setting replayed on the recordings, and trained for real: only like with like tells which is better."""
    again = study.evaluate("dvar", {"window": rule.window, "threshold": rule.threshold})
    stops = ", ".join(f"{one.concept} {one.stop_step}" for one in again.outcomes)
    print(
        f"  {name:8s} {rule!r:34s} replayed {again.iterations:6.1f} {again.quality_kept:7.1%}   "
        f"live {live.iterations.mean:6.1f} {live.quality_kept.mean:7.1%}   ({stops})"
    )


def prove(experiment: Experiment, concepts: Sequence[Concept], rule: DVAR, full: Sequence[Recording]) -> Summary:
    """Train the concepts under a setting, as `dvar run` does."""
    ended = runs.live(experiment, concepts, rule)
    store = runs.live_runs(experiment)
    found = [run for one in ended if (run := store.find(one.job.identity))]
    return Summary.of([live_outcome(run, recording) for run, recording in zip(found, full, strict=True)])


def main() -> None:
    """Record and replay, then search by hand, and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--yes", action="store_true", help="run it although it takes long")
    parser.add_argument("--trials", type=int, default=30, help="suggestions by hand")
    parser.add_argument("--budget", type=int, help="optimizer steps of a full-length run")
    parser.add_argument("--concepts", type=int, help="only so many of the tuning concepts")
    options = parser.parse_args()
    if not options.yes:
        print(NOTICE.format(f"python {sys.argv[0]}"))
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    experiment = presets.miniature()
    concepts = experiment.split(experiment.load_concepts()).tuning[: options.concepts]
    with tempfile.TemporaryDirectory() as folder, cluster():
        changes = {"storage": folder, "budget": options.budget or experiment.budget}
        experiment = experiment.model_copy(update=changes)
        say_what_is_compared(experiment, concepts)
        replayed, recordings, study = record_and_replay(experiment, concepts)
        # The search by hand cannot know what a full run reaches; it is given what the recordings say.
        best = {one.concept: float(one.quality.scores[TRAIN_IMAGE].max()) for one in recordings}
        hand = by_hand(experiment, concepts, best, options.trials)
        report(hand, replayed)
        print("both best settings on equal terms, the live runs of which are not counted above:", flush=True)
        for side in (hand, replayed):
            live = prove(experiment, concepts, side.best, recordings)
            report_both_ways(side.name, side.best, study, live)


if __name__ == "__main__":
    main()
