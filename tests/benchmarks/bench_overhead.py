"""What the orchestration costs: workers' seconds inside `Training.step` over those of their cores, beside plain Tune.

    python tests/benchmarks/bench_overhead.py --yes [--trials 24] [--budget 160]

Both sides train the same concepts with the same settings on the same cluster, one after the other. Then the time from a
trial's end to the next one's first step, with and without reuse of actors. The shorter the trials, the more samples and
set-up weigh: the budget is that of the preset.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import ray
from ray import tune
from rich.console import Console

from orchestrator import plugins, runs
from orchestrator.config import presets
from orchestrator.config.experiment import Experiment
from orchestrator.report.console.progress import run_bars
from orchestrator.tracking.mlflow import Tracker
from trainables.data.concept import Concept
from trainables.methods import MethodSpec
from trainables.miniature import concepts as toys
from trainables.miniature.entries import TEST
from trainables.models.files import resolve
from trainables.models.stable_diffusion import load
from trainables.training import personalization
from trainables.training.training import Training

WORKERS = 2
TARGET = 0.9
GAP_TRIALS, GAP_BUDGET = 8, 12
NOTICE = "skipped: it trains for about 20 minutes on two cores; to run it: {} --yes"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", "RAY_DEDUP_LOGS": "0"}
LOGGERS = "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"

STEP, LOAD, SET_UP, SAMPLES = "inside Training.step", "loading models", "setting up a concept", "samples at the end"
RECORDING, STATE, REPORT = "recording", "state of checkpoints", "reports, until the next step may begin"
BETWEEN, IDLE, OTHER = "from a trial's end to the next one's begin", "idle at the end", "all else"
PARTS = (STEP, LOAD, SET_UP, SAMPLES, RECORDING, STATE, REPORT, BETWEEN, IDLE, OTHER)

RULE = """\
{trials} trials of {budget} steps of Textual Inversion on the miniature, {workers} workers of one core and one thread.
orchestration: `runs.record` as `dvar record` calls it, with recordings, checkpoints, MLflow and bars; samples at the
  end of a trial alone. An actor keeps its models.
plain: a function that loads the models, trains with the same `Training`, and reports every step by `tune.report`;
  Tune's own loggers, no samples, no recordings, no checkpoints.
Compared is the share of the workers' time that passes inside `Training.step` (the update and L_det): of each worker
from its first step on, which leaves the start-up out, to the last step of all.
"""

clock = time.perf_counter  # of the machine, not of the process: workers and driver agree


class Ledger:
    """What a worker does and when, in memory; a line of a file a trial, written after its end.

    Args:
        folder: holds a file a worker.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"{os.getpid()}.jsonl"
        self._spans: list[tuple[str, float, float]] = []

    def note(self, what: str, begun: float) -> None:
        """Keep what began at `begun` and ends now."""
        self._spans.append((what, begun, clock()))

    def timed(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, with its calls kept."""

        def call(*arguments: Any, **named: Any) -> Any:
            begun = clock()
            try:
                return function(*arguments, **named)
            finally:
                self.note(what, begun)

        return call

    def end(self) -> None:
        """Write down a trial that ends now."""
        with self._file.open("a") as file:
            file.write(json.dumps({"spans": self._spans, "ended": clock()}) + "\n")
        self._spans = []


class TimedSink:
    """A sink whose every call is kept."""

    def __init__(self, sink: Any, ledger: Ledger) -> None:
        self._sink, self._ledger = sink, ledger

    def __getattr__(self, name: str) -> Any:
        return self._ledger.timed(RECORDING, getattr(self._sink, name))


def timed_personalization(folder: Path) -> type:
    """Return Personalization with a ledger in `folder`."""

    class Timed(personalization.Personalization):
        def setup(self, config: dict[str, Any], sink: Callable[..., Any], **others: Any) -> None:
            self._ledger, self._loads_since, self._reported = Ledger(folder), clock(), None
            super().setup(config, sink=lambda *run: TimedSink(sink(*run), self._ledger), **others)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            if self._loads_since:
                self._ledger.note(LOAD, self._loads_since)
            self._loads_since, self._reported = None, None
            self._ledger.timed(SET_UP, super().reset_config)(new_config)
            session = self._session
            session.training.step = self._ledger.timed(STEP, session.training.step)
            session.save = self._ledger.timed(STATE, session.save)
            session._probe.measure = self._ledger.timed(SAMPLES, session._probe.measure)
            return True

        def step(self) -> dict[str, Any]:
            if self._reported:
                self._ledger.note(REPORT, self._reported)
            result = super().step()
            self._reported = clock()
            if result["done"]:
                self._ledger.end()
            return result

    return Timed


def plain(
    config: Mapping[str, Any],
    experiment: Experiment,
    method: MethodSpec,
    concepts: Mapping[str, Concept],
    folder: Path,
) -> None:
    """Train one concept, as a script around Tune does."""
    ledger = Ledger(folder)
    base = ledger.timed(LOAD, load)(resolve(experiment.base_model), experiment.base_model)
    concept = concepts[config["concept"]]
    training = ledger.timed(SET_UP, Training)(base, method(), concept, fixed_batch=experiment.fixed_batch)
    step, report = ledger.timed(STEP, training.step), ledger.timed(REPORT, tune.report)
    for _ in range(experiment.budget):
        row = step()
        report({"l_det": row.l_det, "train_loss": row.train_loss})
    ledger.end()


@dataclass(frozen=True)
class Trial:
    """One trial on a worker: what took from when to when, and its end."""

    spans: Sequence[tuple[str, float, float]]
    ended: float

    @property
    def begun(self) -> float:
        return float(self.spans[0][1])

    @property
    def first_step(self) -> float:
        return min(begun for what, begun, _ in self.spans if what == STEP)

    @property
    def last_step(self) -> float:
        return max(ended for what, _, ended in self.spans if what == STEP)

    def seconds(self, what: str, since: float, until: float) -> float:
        """Return how long something took within a stretch of time."""
        pieces = (min(ended, until) - max(begun, since) for name, begun, ended in self.spans if name == what)
        return sum(piece for piece in pieces if piece > 0)


class Side:
    """The trials of one side, by their first step.

    A worker that becomes free takes the next trial: the trial after the first ones follows the first one that ends, and
    so on. Sums and means over pairs of an end and a begin do not depend on who took which.
    """

    def __init__(self, folder: Path) -> None:
        lines = [line for file in folder.iterdir() for line in file.read_text().splitlines()]
        self.trials = sorted((Trial(**json.loads(line)) for line in lines), key=lambda trial: trial.first_step)
        self._until = max(trial.last_step for trial in self.trials)

    @property
    def core_seconds(self) -> float:
        """Seconds of all workers, each from its first step, to the last step of all."""
        return sum(self._until - trial.first_step for trial in self.trials[:WORKERS])

    @property
    def wall(self) -> float:
        return self._until - self.trials[0].first_step

    def parts(self) -> dict[str, float]:
        """Return where the core seconds went."""
        since = [trial.first_step for trial in self.trials[:WORKERS]] + [0.0] * len(self.trials[WORKERS:])
        pairs = list(zip(self.trials, since, strict=True))
        seconds = {what: sum(trial.seconds(what, at, self._until) for trial, at in pairs) for what in PARTS}
        seconds[BETWEEN] = sum(self.gaps(lambda trial: trial.begun))
        idle = (max(0.0, self._until - trial.ended) for trial in self._by_end()[-WORKERS:])
        seconds[IDLE] = sum(idle)
        return seconds | {OTHER: self.core_seconds - sum(seconds.values())}

    def gaps(self, until: Callable[[Trial], float]) -> list[float]:
        """Return the times from a trial's end to a moment of the one that follows it."""
        moments = sorted(until(trial) for trial in self.trials)[WORKERS:]
        return [moment - trial.ended for moment, trial in zip(moments, self._by_end(), strict=False)]

    def _by_end(self) -> list[Trial]:
        return sorted(self.trials, key=lambda trial: trial.ended)

    @property
    def step(self) -> float:
        """Median seconds of a step."""
        return statistics.median(
            ended - begun for trial in self.trials for what, begun, ended in trial.spans if what == STEP
        )


@contextmanager
def cluster() -> Iterator[None]:
    """Start Ray before anything is timed; every side uses it."""
    os.environ.update(QUIET)
    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


def orchestrated(experiment: Experiment, concepts: Sequence[Concept], folder: Path, *, reuse: bool = True) -> Side:
    """Do what `dvar record` does, the bars drawn on a terminal that nobody sees."""
    experiment, ledgers = beside(experiment, folder)
    os.environ[LOGGERS] = "1"
    config = tune.TuneConfig
    with (
        mock.patch.object(personalization, "Personalization", timed_personalization(ledgers)),
        mock.patch.object(tune, "TuneConfig", lambda **given: config(**given | {"reuse_actors": reuse})),
        open(os.devnull, "w") as nowhere,
        Tracker(experiment).run("record", experiment.public()) as parent,
        run_bars(Console(file=nowhere, force_terminal=True), "recording") as shown,
    ):
        ended = runs.record(experiment, concepts, [parent, shown])
    if failed := [result for result in ended if not result.is_good]:
        raise RuntimeError(f"{failed[0].spec.concept}: {failed[0].reason}")
    return Side(ledgers)


def plainly(experiment: Experiment, concepts: Sequence[Concept], folder: Path) -> Side:
    """Run the plain script, with what Tune does when it is told nothing else."""
    experiment, ledgers = beside(experiment, folder)
    os.environ.pop(LOGGERS, None)
    chosen = experiment.method
    function = tune.with_parameters(
        plain,
        experiment=experiment,
        method=MethodSpec(plugins.METHODS.spec(chosen.name), chosen.settings, chosen.recipe),
        concepts={concept.name: concept for concept in concepts},
        folder=ledgers,
    )
    results = tune.Tuner(
        tune.with_resources(function, {"cpu": 1}),
        param_space={"concept": tune.grid_search([concept.name for concept in concepts])},
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), verbose=0),
    ).fit()
    if results.errors:
        raise results.errors[0]
    return Side(ledgers)


def beside(experiment: Experiment, folder: Path) -> tuple[Experiment, Path]:
    """Return the experiment with its storage in a folder, and a folder for ledgers."""
    ledgers = folder / "ledgers"
    ledgers.mkdir(parents=True)
    return experiment.model_copy(update={"storage": str(folder / "storage")}), ledgers


def say(name: str, side: Side) -> None:
    """Print a side's figures as soon as they are there."""
    print(
        f"{name}: {side.parts()[STEP] / side.core_seconds:.1%} inside Training.step; "
        f"{1e3 * side.step:.1f} ms a step, median; wall {side.wall:.1f} s",
        flush=True,
    )


def report(ours: Side, plain: Side) -> None:
    """Print where the time of both sides went, and the ratios."""
    sides = {"orchestration": ours, "plain": plain}
    parts = {name: side.parts() for name, side in sides.items()}
    print(f"{'seconds of the workers':44s}" + "".join(f"{name:>22s}" for name in sides))
    for what in PARTS:
        columns = [(parts[name][what], side.core_seconds) for name, side in sides.items()]
        print(f"  {what:42s}" + "".join(f"{part:>13.1f} {part / whole:>8.1%}" for part, whole in columns))
    print(f"  {'all':42s}" + (" " * 9).join(f"{side.core_seconds:>13.1f}" for side in sides.values()))
    inside, samples = parts["orchestration"][STEP], parts["orchestration"][SAMPLES]
    print(
        f"orchestration: {inside / ours.core_seconds:.1%} (target: {TARGET:.0%}); "
        f"{inside / (ours.core_seconds - samples):.1%} without the samples, which the plain script does not draw"
    )
    print(f"the plain script takes {plain.wall / ours.wall:.2f} times the wall time of the orchestration", flush=True)


def report_gaps(experiment: Experiment, concepts: Sequence[Concept], folder: Path) -> None:
    """Print the time between trials, with and without reuse of actors."""
    experiment = experiment.model_copy(update={"budget": GAP_BUDGET})
    print(
        f"from a trial's end to the next one's first step, orchestrated, {len(concepts)} trials of {GAP_BUDGET} steps:"
    )
    means = []
    for reuse in (False, True):
        side = orchestrated(experiment, concepts, folder / f"reuse-{reuse}", reuse=reuse)
        gaps = side.gaps(lambda trial: trial.first_step)
        means.append(statistics.fmean(gaps))
        print(f"  reuse_actors={reuse!s:5s} {means[-1]:>6.2f} s, {min(gaps):.2f} to {max(gaps):.2f}", flush=True)
    print(f"reuse of actors makes it {means[0] / means[1]:.1f} times shorter")


def main() -> None:
    """Run both sides and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--yes", action="store_true", help="run it although it takes long")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--budget", type=int, help="optimizer steps of a trial")
    options = parser.parse_args()
    if not options.yes:
        print(NOTICE.format(f"python {sys.argv[0]}"))
        return
    experiment = presets.miniature()
    quality = replace(experiment.quality, every=None)
    experiment = experiment.model_copy(update={"budget": options.budget or experiment.budget, "quality": quality})
    concepts = toys.load(TEST[: options.trials])
    with tempfile.TemporaryDirectory() as name, cluster():
        folder = Path(name)
        print(RULE.format(trials=len(concepts), budget=experiment.budget, workers=WORKERS), flush=True)
        ours = orchestrated(experiment, concepts, folder / "orchestrated")
        say("orchestration", ours)
        beside_it = plainly(experiment, concepts, folder / "plain")
        say("plain", beside_it)
        report(ours, beside_it)
        report_gaps(experiment, concepts[:GAP_TRIALS], folder)


if __name__ == "__main__":
    main()
