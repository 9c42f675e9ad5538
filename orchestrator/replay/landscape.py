"""The landscape: exact iterations and quality of DVAR for (N, alpha) over the whole plane, on some recordings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.criteria.dvar import first_stops
from orchestrator.recordings.recording import Floats, Recording
from orchestrator.replay.aggregate import over_seeds
from orchestrator.replay.replay import check_replayable
from search_spaces.dvar import THRESHOLDS
from search_spaces.windows import windows as window_space

WINDOWS = 80


@dataclass(frozen=True)
class Landscape:
    """DVAR over the plane of its two parameters.

    Attributes:
        windows: N, in steps, ascending, shape (windows,).
        thresholds: alpha, ascending, shape (thresholds,).
        iterations: mean optimizer steps over concepts, shape (windows, thresholds).
        quality_kept: mean share of the best quality that is kept, over concepts, shape (windows, thresholds).
        budget: optimizer steps of the recordings.
        measure: the quality metric that counts.
    """

    windows: NDArray[np.int64]
    thresholds: Floats
    iterations: Floats
    quality_kept: Floats
    budget: int
    measure: str

    def front(self) -> list[tuple[int, int]]:
        """Return the Pareto front, the fewest steps first: pairs of the indices of window and threshold."""
        order = np.lexsort((-self.quality_kept.ravel(), self.iterations.ravel()))
        front, best = [], -np.inf
        for flat in order:
            if self.quality_kept.flat[flat] > best + 1e-12:
                best = self.quality_kept.flat[flat]
                row, column = divmod(int(flat), len(self.thresholds))
                front.append((row, column))
        return front


def survey(recordings: Sequence[Recording], measure: str) -> Landscape:
    """Replay DVAR's whole search space over recordings.

    Args:
        recordings: complete recordings with the same budget, at least one; the seeds of a concept are averaged first.
        measure: the quality metric that counts; every recording must have it.

    Raises:
        InvalidInput: a recording is not complete, or lacks the metric.
    """
    budget = recordings[0].budget
    space = window_space(budget)
    windows = np.unique(np.geomspace(space.low, space.high, WINDOWS).round().astype(np.int64))
    thresholds = np.arange(round(100 * THRESHOLDS[0]), round(100 * THRESHOLDS[1]) + 1) / 100
    planes: list[Floats] = []
    for recording in recordings:
        check_replayable(recording, measure)
        stops = first_stops(recording.steps.l_det[:budget], windows.tolist(), thresholds.tolist())
        stops = np.where(stops == 0, budget, stops)
        planes.append(np.stack([stops.astype(np.float64), _kept(recording, measure, stops)]))
    names = [recording.concept for recording in recordings]
    iterations, kept = np.mean(list(over_seeds(names, planes, _mean).values()), axis=0)
    return Landscape(windows, thresholds, iterations, kept, budget, measure)


def _mean(planes: list[Floats]) -> Floats:
    mean: Floats = np.mean(planes, axis=0)
    return mean


def _kept(recording: Recording, measure: str, stops: NDArray[np.int64]) -> Floats:
    quality = recording.quality
    count = int(np.searchsorted(quality.steps, recording.budget, side="right"))
    scores = quality.scores[measure][:count]
    index = np.searchsorted(quality.steps[:count], stops, side="right") - 1
    kept: Floats = scores[index] / scores.max()
    return kept
