"""The landscape: how DVAR does on some recordings at every (N, alpha) of the plane, exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.criteria.dvar import first_stops
from orchestrator.recordings.recording import Floats, Recording
from orchestrator.replay.aggregate import exact_mean, mean_by_concept
from orchestrator.replay.quality import kept_at
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
        metric: the quality that counts.
    """

    windows: NDArray[np.int64]
    thresholds: Floats
    iterations: Floats
    quality_kept: Floats
    budget: int
    metric: str

    def front(self) -> list[tuple[int, int]]:
        """Return the points that no other beats in steps and quality, as indices of window and threshold."""
        order = np.lexsort((-self.quality_kept.ravel(), self.iterations.ravel()))
        front, best = [], -np.inf
        for flat in order:
            if self.quality_kept.flat[flat] > best + 1e-12:
                best = self.quality_kept.flat[flat]
                row, column = divmod(int(flat), len(self.thresholds))
                front.append((row, column))
        return front


def survey(recordings: Sequence[Recording], metric: str) -> Landscape:
    """Replay DVAR's whole space over recordings.

    Example:
        >>> from orchestrator.recordings.collection import pick, read_place
        >>> landscape = survey(pick(read_place("builtin"), ["robot_1"])[:1], "train_clip_image")
        >>> landscape.iterations.shape == (len(landscape.windows), len(landscape.thresholds))
        True
        >>> bool(landscape.iterations.max() <= landscape.budget)
        True

    Args:
        recordings: complete ones of one budget, at least one; several seeds of a concept are averaged first.
        metric: the quality that counts, one of each recording's.

    Raises:
        InvalidInput: a recording is not complete, lacks the metric, or has no snapshot before a stop.
    """
    budget = recordings[0].budget
    space = window_space(budget)
    windows = np.unique(np.geomspace(space.low, space.high, WINDOWS).round().astype(np.int64))
    thresholds = np.arange(round(100 * THRESHOLDS[0]), round(100 * THRESHOLDS[1]) + 1) / 100
    stops, kept = [], []
    for recording in recordings:
        check_replayable(recording, metric)
        first = first_stops(recording.steps.l_det[:budget], windows.tolist(), thresholds.tolist())
        stops.append(np.where(first == 0, budget, first))
        kept.append(kept_at(recording, metric, stops[-1]))
    concepts = [recording.concept for recording in recordings]
    iterations, quality_kept = (
        exact_mean(list(mean_by_concept(concepts, values).values())) for values in (stops, kept)
    )
    return Landscape(windows, thresholds, iterations, quality_kept, budget, metric)
