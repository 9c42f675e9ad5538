"""Replay: how a criterion would have done on a recorded run, without training again."""

import math
from functools import cached_property

import numpy as np

from orchestrator.criteria import Criterion
from orchestrator.recordings.recording import Floats, Quality, Recording
from orchestrator.replay.l_det import l_det_cost, l_det_series
from orchestrator.replay.outcome import Outcome
from orchestrator.replay.quality import quality_at, quality_curve, refuse
from trainables.errors import InvalidInput
from trainables.settings import TRAIN_IMAGE, LDetSchedule


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
    return Replayer(recording, metric).replay(criterion)


class Replayer:
    """Replays criteria on a recording; what several criteria need is computed once.

    Args:
        recording: a complete one.
        metric: the quality that counts, one of the recording's.

    Attributes:
        recording: as given.
        metric: as given.

    Raises:
        InvalidInput: the recording is not complete, or lacks the metric; the message names it.
    """

    def __init__(self, recording: Recording, metric: str = TRAIN_IMAGE) -> None:
        check_replayable(recording, metric)
        self.recording, self.metric = recording, metric
        self._series: dict[LDetSchedule, Floats] = {}

    def replay(self, criterion: Criterion) -> Outcome:
        """Return how a criterion would have done.

        Raises:
            InvalidInput: the recording lacks what the criterion watches; the message names it.
        """
        recording = self.recording
        criterion = criterion.for_images(max(1, recording.identity.image_count))
        first_stop = self._first_stop(criterion)
        stop = recording.budget if first_stop is None else first_stop
        return Outcome(
            concept=recording.concept,
            seed=recording.identity.seed,
            stop_step=stop,
            stopped=first_stop is not None,
            budget=recording.budget,
            seconds=self._seconds(criterion, stop),
            quality_at_stop=self._quality_at(self._kept_step(criterion, stop)),
            best_quality=self._best_quality,
        )

    @cached_property
    def _curve(self) -> Floats:
        return quality_curve(self.recording, self.metric).at_every_step

    @cached_property
    def _best_quality(self) -> float:
        return quality_curve(self.recording, self.metric).best

    def _quality_at(self, step: int) -> float:
        quality = float(self._curve[step])
        return float(quality_at(self.recording, self.metric, step)) if math.isnan(quality) else quality

    @cached_property
    def _seconds_until(self) -> Floats:
        """Time of the first steps without L_det, shape (budget + 1,)."""
        return np.concatenate([[0.0], np.cumsum(self.recording.steps.seconds)])

    def _l_det(self, schedule: LDetSchedule) -> Floats:
        if schedule not in self._series:
            self._series[schedule] = l_det_series(self.recording, schedule)[: self.recording.budget]
        return self._series[schedule]

    def _values(self, criterion: Criterion) -> Floats:
        """Return what a criterion watches: a value per step, or per snapshot within the budget."""
        if not criterion.decides_by_step:
            return _watched(criterion, self.recording)
        return self._l_det(criterion.l_det_schedule if criterion.needs_l_det else LDetSchedule())

    def _first_stop(self, criterion: Criterion) -> int | None:
        """Return the step at which the criterion stops, or None."""
        try:
            count = criterion.first_stop(self._values(criterion))
        except InvalidInput:
            raise
        except ValueError as error:
            refuse(self.recording, f"cannot be replayed: {error}; record it again")
        if count is None or criterion.decides_by_step:
            return count
        return int(self.recording.quality.steps[count - 1])

    def _seconds(self, criterion: Criterion, stop: int) -> float | None:
        recording = self.recording
        seconds = float(self._seconds_until[stop])
        if criterion.needs_l_det:
            cost = l_det_cost(recording, criterion.l_det_schedule, stop)
            if cost is None:
                return None
            seconds += cost.seconds
        elif criterion.series is not None:
            count = _snapshots_until(recording.quality, stop)
            seconds += float(recording.quality.seconds_of(criterion.series)[:count].sum())
        return seconds if np.isfinite(seconds) else None

    def _kept_step(self, criterion: Criterion, stop: int) -> int:
        """Return the step whose weights a run would keep."""
        if not criterion.keeps_best:
            return stop
        if criterion.decides_by_step:
            return criterion.best_step(self._values(criterion), stop)
        count = _snapshots_until(self.recording.quality, stop)
        return int(self.recording.quality.steps[criterion.best_step(self._values(criterion), count) - 1])


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


def _snapshots_until(quality: Quality, step: int) -> int:
    return int(np.searchsorted(quality.steps, step, side="right"))
