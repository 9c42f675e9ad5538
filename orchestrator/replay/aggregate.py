"""The mean over concepts: a concept that was recorded with several seeds counts once."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike

from orchestrator.recordings.recording import Floats


def mean_by_concept(concepts: Sequence[str], values: ArrayLike) -> dict[str, Floats]:
    """Average over the seeds of each concept.

    Example:
        >>> means = mean_by_concept(["cat", "dog", "cat"], [10, 60, 30])
        >>> {concept: float(mean) for concept, mean in means.items()}
        {'cat': 20.0, 'dog': 60.0}

    Args:
        concepts: of each run.
        values: of each run, shape (runs, ...).

    Returns:
        For each concept, in order of its first run, the mean of its runs, shape (...).
    """
    runs: dict[str, list[Floats]] = {}
    for concept, value in zip(concepts, np.asarray(values, dtype=np.float64), strict=True):
        runs.setdefault(concept, []).append(value)
    return {concept: exact_mean(group) for concept, group in runs.items()}


def exact_mean(values: Sequence[Floats]) -> Floats:
    """Return the mean of at least one array, element by element, shape (...).

    Each is rounded once, whatever the order of the arrays: settings are judged by such means, and equal settings must
    come out equal.
    """
    if len(values) == 1:
        return np.asarray(values[0])
    columns = np.reshape(np.asarray(values), (len(values), -1)).T
    return np.reshape([fmean(column) for column in columns.tolist()], np.shape(values[0]))
