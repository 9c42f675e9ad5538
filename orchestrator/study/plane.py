"""The exact optimum over DVAR's whole plane: replays are cheap enough to try every window and threshold."""

from collections.abc import Sequence

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution

from orchestrator.criteria import DVAR
from orchestrator.criteria.dvar import first_stops
from orchestrator.recordings.recording import Floats, Recording
from orchestrator.replay.aggregate import mean_by_concept
from orchestrator.replay.l_det import l_det_series
from orchestrator.replay.quality import kept_at
from orchestrator.study.replays import Replays
from orchestrator.study.result import TrialResult

NAME = "dvar"


def best_on_plane(replays: Replays, recordings: Sequence[Recording]) -> TrialResult | None:
    """Return the best setting of DVAR's whole search space.

    Args:
        replays: of the recordings.
        recordings: complete ones of one budget.

    Returns:
        None where DVAR is not searched, one of its two parameters is fixed, no setting keeps enough, or seconds are the
        cost, which depend on more than the step of the stop.
    """
    space, objective = replays.space, replays.objective
    ranges = space.ranges.get(NAME, {})
    window, threshold = ranges.get("window"), ranges.get("threshold")
    if not isinstance(window, IntDistribution) or not isinstance(threshold, FloatDistribution):
        return None
    if len(ranges) > 2 or objective.cost != "iterations" or threshold.step is None:
        return None
    count = round((threshold.high - threshold.low) / threshold.step) + 1
    thresholds = [round(threshold.low + index * threshold.step, 6) for index in range(count)]
    windows = list(range(window.low, window.high + 1))
    stops = [_stops(replays, recording, windows, thresholds) for recording in recordings]
    kept = [
        kept_at(recording, objective.metric, of_recording)
        for recording, of_recording in zip(recordings, stops, strict=True)
    ]
    concepts = [recording.concept for recording in recordings]
    chosen = objective.choose(_by_concept(concepts, stops), _by_concept(concepts, kept))
    if chosen is None:
        return None
    row, column = divmod(chosen, count)
    return replays.evaluate(NAME, {"window": windows[row], "threshold": thresholds[column]})


def _stops(replays: Replays, recording: Recording, windows: Sequence[int], thresholds: Sequence[float]) -> Floats:
    """Return the step at which every setting stops a recording, the budget where it does not."""
    _, example = replays.space.criterion(NAME, {"window": windows[-1], "threshold": thresholds[0]})
    assert isinstance(example, DVAR)
    schedule = example.l_det_schedule
    values = l_det_series(recording, schedule)[: recording.budget][schedule.every - 1 :: schedule.every]
    # Windows that hold equally many evaluations of L_det stop at the same step.
    in_evaluations = np.array([example.evaluations_in(window) for window in windows])
    different, places = np.unique(in_evaluations, return_inverse=True)
    stops = first_stops(values, different.tolist(), thresholds)[places] * schedule.every
    return np.where(stops == 0, recording.budget, stops).astype(np.float64)


def _by_concept(concepts: Sequence[str], values: Sequence[Floats]) -> Floats:
    """Return values averaged over seeds, shape (settings, concepts)."""
    means = mean_by_concept(concepts, np.array([value.ravel() for value in values]))
    return np.array(list(means.values())).T
