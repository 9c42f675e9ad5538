"""Replay: how a criterion would have done on a recorded run, without training again."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from orchestrator.criteria import Criterion
from orchestrator.recordings.recording import Floats, Quality, Recording
from orchestrator.replay.aggregate import mean_by_concept
from orchestrator.replay.l_det import l_det_series
from orchestrator.replay.quality import quality_at, quality_curve, refuse
from trainables.errors import InvalidInput
from trainables.settings import TRAIN_IMAGE


@dataclass(frozen=True)
class Outcome:
    """How a criterion did on a run. What was not measured is None.

    Attributes:
        concept: name of the concept.
        seed: of the training; None when the recording does not say.
        stop_step: optimizer steps done; the budget when the criterion never stopped.
        stopped: whether the criterion stopped the run.
        budget: optimizer steps of a full-length run.
        seconds: time of the steps done, including what the criterion itself costs: each evaluation of L_det that it
            needs, or drawing and scoring the samples that it watches. Not known for a criterion that evaluates some of
            the inputs in turn.
        quality_at_stop: score of what is kept: the weights at the stop, or those of the best snapshot up to it for a
            criterion that keeps the best. Replayed, it is read off the `QualityCurve`, an estimate; a live run's was
            measured.
        best_quality: highest score that the full-length run reaches on its `QualityCurve`, an estimate; a single score
            may exceed it.
    """

    concept: str
    seed: int | None
    stop_step: int
    stopped: bool
    budget: int
    seconds: float | None
    quality_at_stop: float | None
    best_quality: float | None

    @property
    def share(self) -> float:
        """Share of the budget that was used, above 0 and at most 1."""
        return self.stop_step / self.budget

    @property
    def quality_kept(self) -> float | None:
        """Quality at the stop over the best quality of the full budget; None where either was not measured."""
        if self.quality_at_stop is None or self.best_quality is None:
            return None
        return self.quality_at_stop / self.best_quality

    def metrics(self) -> dict[str, float]:
        """Return what was measured, by the names that MLflow gets."""
        names = ("stop_step", "share", "seconds", "quality_at_stop", "best_quality", "quality_kept")
        values = {name: getattr(self, name) for name in names}
        return {name: float(value) for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over concepts; a single concept has no deviation (None)."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class Summary:
    """The outcomes of a criterion, averaged over the seeds of each concept and then over concepts.

    Attributes:
        concepts: number of concepts.
        iterations: optimizer steps at the stop.
        share: used part of the budget, 0..1.
        seconds: time until the stop; None unless every outcome has it.
        quality_kept: share of the best quality; None unless every outcome has it.
    """

    concepts: int
    iterations: Spread
    share: Spread
    seconds: Spread | None
    quality_kept: Spread | None

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "Summary":
        """Summarise outcomes.

        Example:
            >>> outcomes = [Outcome(name, seed, stop, True, 100, 2.0, 0.9, 1.0) for name, seed, stop in
            ...             [("cat", 0, 10), ("cat", 1, 30), ("dog", 0, 60)]]
            >>> Summary.of(outcomes).iterations.mean
            40.0

        Args:
            outcomes: at least one.
        """
        names = [outcome.concept for outcome in outcomes]
        return cls(
            concepts=len(set(names)),
            iterations=_over_concepts(names, [outcome.stop_step for outcome in outcomes]),
            share=_over_concepts(names, [outcome.share for outcome in outcomes]),
            seconds=_if_measured(names, [outcome.seconds for outcome in outcomes]),
            quality_kept=_if_measured(names, [outcome.quality_kept for outcome in outcomes]),
        )

    def spreads(self) -> dict[str, Spread]:
        """Return what was measured, by name."""
        names = ("iterations", "share", "seconds", "quality_kept")
        return {name: spread for name in names if (spread := getattr(self, name)) is not None}


def _if_measured(names: Sequence[str], values: Sequence[float | None]) -> Spread | None:
    measured = [value for value in values if value is not None]
    return _over_concepts(names, measured) if len(measured) == len(values) else None


def _over_concepts(names: Sequence[str], values: Sequence[float]) -> Spread:
    means = [float(mean) for mean in mean_by_concept(names, values).values()]
    return Spread(fmean(means), stdev(means) if len(means) > 1 else None)


def replay(criterion: Criterion, recording: Recording, metric: str = TRAIN_IMAGE) -> Outcome:
    """Return how a criterion would have done on a full-length recording.

    Example:
        >>> from orchestrator.criteria import DVAR
        >>> from orchestrator.recordings.collection import pick, read_place
        >>> recording = pick(read_place("builtin"), ["robot_1"])[0]
        >>> outcome = replay(DVAR(window=60, threshold=0.2), recording)
        >>> outcome.stop_step, recording.budget
        (77, 400)

    Args:
        criterion: watches L_det, a quality of the recording, or nothing.
        recording: a complete one.
        metric: the quality that counts, one of the recording's.

    Raises:
        InvalidInput: the recording is not complete, or lacks what the criterion watches; the message names it.
    """
    check_replayable(recording, metric)
    first_stop = _first_stop(criterion, recording)
    stop = recording.budget if first_stop is None else first_stop
    return Outcome(
        concept=recording.concept,
        seed=recording.identity.seed,
        stop_step=stop,
        stopped=first_stop is not None,
        budget=recording.budget,
        seconds=_seconds(criterion, recording, stop),
        quality_at_stop=float(quality_at(recording, metric, _kept_step(criterion, recording, stop))),
        best_quality=quality_curve(recording, metric).best,
    )


def live_outcome(run: Recording, full: Recording, metric: str = TRAIN_IMAGE) -> Outcome:
    """Return how a live run did, its quality measured against the full-length recording of its concept.

    Args:
        run: a run that a criterion stopped, or that used the full budget; scored at its end or not at all.
        full: the complete recording of the same concept.
        metric: the quality that counts.

    Raises:
        InvalidInput: `full` is not complete or lacks the metric.
    """
    check_replayable(full, metric)
    stop = len(run.steps)
    scored = metric in run.quality.scores and _snapshots_until(run.quality, stop) > 0
    return Outcome(
        concept=run.concept,
        seed=run.identity.seed,
        stop_step=stop,
        stopped=run.state == "stopped",
        budget=run.budget,
        seconds=float(run.steps.seconds.sum() + run.steps.l_det_seconds.sum()),
        quality_at_stop=float(run.quality.scores[metric][-1]) if scored else None,
        best_quality=quality_curve(full, metric).best,
    )


def check_replayable(recording: Recording, metric: str) -> None:
    """Refuse a recording over which nothing can be replayed.

    Args:
        recording: to check.
        metric: the quality that counts.

    Raises:
        InvalidInput: it is not complete, or lacks the metric.
    """
    if recording.state != "complete":
        refuse(recording, f"is {recording.state}, not complete; finish it with `dvar record`")
    if len(recording.steps) < recording.budget:
        refuse(recording, f"has {len(recording.steps)} of {recording.budget} steps; record it again")
    if metric not in recording.quality.scores:
        metrics = ", ".join(recording.quality.scores) or "none"
        refuse(recording, f"lacks the metric {metric!r}; it has: {metrics}")


def _first_stop(criterion: Criterion, recording: Recording) -> int | None:
    """Return the step at which the criterion stops, or None."""
    try:
        if criterion.decides_by_step:
            values = recording.steps.l_det
            if criterion.needs_l_det:
                values = l_det_series(recording, criterion.l_det_schedule)
            return criterion.first_stop(values[: recording.budget])
        count = criterion.first_stop(_watched(criterion, recording))
    except InvalidInput:
        raise
    except ValueError as error:
        refuse(recording, f"cannot be replayed: {error}; record it again")
    return None if count is None else int(recording.quality.steps[count - 1])


def _watched(criterion: Criterion, recording: Recording) -> Floats:
    """Return the quality that a criterion watches, a value per snapshot within the budget."""
    assert criterion.series is not None
    if criterion.series not in recording.quality.scores:
        metrics = ", ".join(recording.quality.scores) or "none"
        refuse(recording, f"lacks the quality {criterion.series!r} that {criterion!r} watches; it has: {metrics}")
    count = _snapshots_until(recording.quality, recording.budget)
    if count < 2:
        refuse(recording, f"has {count} snapshots, too few for {criterion!r}; record it with a smaller quality.every")
    return recording.quality.scores[criterion.series][:count]


def _seconds(criterion: Criterion, recording: Recording, stop: int) -> float | None:
    seconds = float(recording.steps.seconds[:stop].sum())
    if criterion.needs_l_det:
        if criterion.l_det_schedule.inputs is not None:
            return None  # the time of L_det on some of the inputs was not measured
        every = criterion.l_det_schedule.every
        seconds += float(recording.steps.l_det_seconds[every - 1 : stop : every].sum())
    elif criterion.series is not None:
        seconds += float(
            recording.quality.seconds_of(criterion.series)[: _snapshots_until(recording.quality, stop)].sum()
        )
    return seconds if np.isfinite(seconds) else None


def _kept_step(criterion: Criterion, recording: Recording, stop: int) -> int:
    """Return the step whose weights a run would keep."""
    if not criterion.keeps_best:
        return stop
    watched = _watched(criterion, recording)[: _snapshots_until(recording.quality, stop)]
    return int(recording.quality.steps[watched.argmax()])


def _snapshots_until(quality: Quality, step: int) -> int:
    return int(np.searchsorted(quality.steps, step, side="right"))
