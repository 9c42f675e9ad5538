"""What workers spend their time on: spans noted on the workers, and their sums over the trials of a side.

The timed trainable must live in a module that workers can import: Ray pickles what it uses by name.
"""

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from long_benchmark import WORKERS

from orchestrator.runs import RunSpec
from trainables.training import personalization
from trainables.training.sinks import Sink

STEP, LOAD, SET_UP, SAMPLES = "inside Training.step", "loading models", "setting up a concept", "samples at the end"
RECORDING, STATE, REPORT = "recording", "state of checkpoints", "reports, until the next step may begin"
BETWEEN, IDLE, OTHER = "from a trial's end to the next one's begin", "idle at the end", "all else"
PARTS = (STEP, LOAD, SET_UP, SAMPLES, RECORDING, STATE, REPORT, BETWEEN, IDLE, OTHER)

P = ParamSpec("P")
T = TypeVar("T")

clock = time.perf_counter  # of the machine, not of the process: workers and driver agree


class Ledger:
    """What a worker does and when, kept in memory and written when a trial ends: a line per trial.

    Args:
        folder: gets a file per worker.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"{os.getpid()}.jsonl"
        self._spans: list[tuple[str, float, float]] = []

    def note(self, what: str, begun: float) -> None:
        """Note a span that began at `begun` and ends now."""
        self._spans.append((what, begun, clock()))

    def timed(self, what: str, function: Callable[P, T]) -> Callable[P, T]:
        """Return a function that does the same and notes a span per call."""

        def call(*arguments: P.args, **named: P.kwargs) -> T:
            begun = clock()
            try:
                return function(*arguments, **named)
            finally:
                self.note(what, begun)

        return call

    def end(self) -> None:
        """Write the spans of a trial that ends now."""
        with self._file.open("a") as file:
            file.write(json.dumps({"spans": self._spans, "ended": clock()}) + "\n")
        self._spans = []


class TimedSink:
    """A sink whose calls are all timed as recording."""

    def __init__(self, sink: Sink, ledger: Ledger) -> None:
        self._sink, self._ledger = sink, ledger

    def __getattr__(self, name: str) -> Callable[..., object]:
        return self._ledger.timed(RECORDING, getattr(self._sink, name))


def timed_personalization(folder: Path) -> type:
    """Return a Personalization that keeps a ledger in `folder`."""

    class Timed(personalization.Personalization):
        def setup(self, config: Mapping[str, object], sink: Callable[[RunSpec], Sink], **others: object) -> None:
            self._ledger, self._loads_since, self._reported = Ledger(folder), clock(), None
            super().setup(config, sink=lambda spec: TimedSink(sink(spec), self._ledger), **others)

        def reset_config(self, new_config: Mapping[str, object]) -> bool:
            if self._loads_since:
                self._ledger.note(LOAD, self._loads_since)
            self._loads_since, self._reported = None, None
            self._ledger.timed(SET_UP, super().reset_config)(new_config)
            run = self._run
            run.training.step = self._ledger.timed(STEP, run.training.step)
            run.save = self._ledger.timed(STATE, run.save)
            run._probe.measure = self._ledger.timed(SAMPLES, run._probe.measure)
            return True

        def step(self) -> dict[str, object]:
            if self._reported:
                self._ledger.note(REPORT, self._reported)
            result = super().step()
            self._reported = clock()
            if result["done"]:
                self._ledger.end()
            return result

    return Timed


@dataclass(frozen=True)
class Trial:
    """A trial on a worker.

    Attributes:
        spans: what the worker did, and when that began and ended.
        ended: when the trial ended.
    """

    spans: Sequence[tuple[str, float, float]]
    ended: float

    @property
    def begun(self) -> float:
        """When the trial's first span began."""
        return float(self.spans[0][1])

    @property
    def first_step(self) -> float:
        """When the first step began."""
        return min(begun for what, begun, _ in self.spans if what == STEP)

    @property
    def last_step(self) -> float:
        """When the last step ended."""
        return max(ended for what, _, ended in self.spans if what == STEP)

    def seconds(self, what: str, since: float, until: float) -> float:
        """Return the seconds spent on something between two moments."""
        pieces = (min(ended, until) - max(begun, since) for name, begun, ended in self.spans if name == what)
        return sum(piece for piece in pieces if piece > 0)


class TrialTimes:
    """The trials of a side, in the order of their first steps.

    A worker that becomes free takes the next trial, so the first trial that waits follows the first that ends, etc.
    Sums and means over pairs of an end and a begin do not depend on which worker took which trial.

    Args:
        folder: with the ledgers of the workers.
    """

    def __init__(self, folder: Path) -> None:
        lines = [line for file in folder.iterdir() for line in file.read_text().splitlines()]
        self.trials = sorted((Trial(**json.loads(line)) for line in lines), key=lambda trial: trial.first_step)
        self._until = max(trial.last_step for trial in self.trials)

    @property
    def core_seconds(self) -> float:
        """Seconds of all workers, each from its own first step to the last step of all."""
        return sum(self._until - trial.first_step for trial in self.trials[:WORKERS])

    @property
    def wall(self) -> float:
        """Seconds from the first step to the last."""
        return self._until - self.trials[0].first_step

    def parts(self) -> dict[str, float]:
        """Return what the core seconds were spent on, by `PARTS`."""
        since = [trial.first_step for trial in self.trials[:WORKERS]] + [0.0] * len(self.trials[WORKERS:])
        pairs = list(zip(self.trials, since, strict=True))
        seconds = {what: sum(trial.seconds(what, at, self._until) for trial, at in pairs) for what in PARTS}
        seconds[BETWEEN] = sum(self.gaps(lambda trial: trial.begun))
        idle = (max(0.0, self._until - trial.ended) for trial in self._by_end()[-WORKERS:])
        seconds[IDLE] = sum(idle)
        return seconds | {OTHER: self.core_seconds - sum(seconds.values())}

    def gaps(self, until: Callable[[Trial], float]) -> list[float]:
        """Return the seconds from each trial's end to a moment of the trial that follows it."""
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
