"""QualityCurve: the quality of a run at every step, estimated from its snapshots, and the noise of the scores."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from orchestrator.recordings.recording import Floats, Recording
from trainables.errors import InvalidInput

#: Snapshots within this share of the budget on either side of a step count for the quality there. Measured on courses
#: that rise exponentially, with time constants of 10 % of the budget and more and snapshots every 2 to 10 % of it: the
#: share of the best quality is right within 0.3 points from 10 % of the budget on.
REACH = 0.18
DEGREE = 2


@dataclass(frozen=True)
class QualityCurve:
    """The quality of a run between and at its snapshots, an estimate that suppresses the noise of single scores.

    Each snapshot's score is smoothed by a local quadratic fit with tricube weights (LOESS; Cleveland, 1979) over the
    snapshots within `REACH` of the budget; between the smoothed scores it is interpolated by a monotone cubic (PCHIP;
    Fritsch and Carlson, 1980). So no rule gains from a stop that happens to be at a snapshot, and "the best" is not the
    luckiest sample. With fewer than three snapshots the scores are taken as they are.

    Attributes:
        steps: of the snapshots, ascending, shape (snapshots,).
        smoothed: score at each of them, shape (snapshots,).
        at_every_step: score after each step from 0 to the budget, shape (budget + 1,); NaN before the first snapshot.
    """

    steps: NDArray[np.int64]
    smoothed: Floats
    at_every_step: Floats

    @property
    def best(self) -> float:
        """The highest score from the first snapshot to the budget."""
        return float(np.nanmax(self.at_every_step))

    @property
    def kept_at_every_step(self) -> Floats:
        """Share of the best score after each step from 0 to the budget, shape (budget + 1,); NaN likewise."""
        return self.at_every_step / self.best


@dataclass(frozen=True)
class ScoreNoise:
    """How far the score of the same weights differs from one set of samples to the next.

    Attributes:
        std: standard deviation, in units of the score.
        source: "repeated" where the same weights were scored several times; "residual" where it is estimated from the
            scatter of the snapshots around their smoothed course.
        count: number of scores or snapshots behind it.
    """

    std: float
    source: Literal["repeated", "residual"]
    count: int


def quality_curve(recording: Recording, metric: str) -> QualityCurve:
    """Return the course of a quality over a full-length recording.

    Example:
        >>> from orchestrator.recordings.collection import pick, read_place
        >>> recording = pick(read_place("builtin"), ["robot_1"])[0]
        >>> curve = quality_curve(recording, "train_clip_image")
        >>> len(curve.at_every_step) == recording.budget + 1, bool(0 < curve.kept_at_every_step[0] < 1)
        (True, True)

    Args:
        recording: with at least one snapshot up to the budget.
        metric: one of the recording's.

    Raises:
        InvalidInput: there is no snapshot, a score is not finite, or the best is not above 0, so that no share of it
            has a meaning.
    """
    steps, scores = recording.quality.steps, recording.quality.scores[metric]
    count = int(np.searchsorted(steps, recording.budget, side="right"))
    if count == 0:
        refuse(recording, "has no quality snapshot; record it again with a smaller quality.every")
    if not np.isfinite(scores[:count]).all():
        refuse(recording, f"has a {metric} that is not finite; record it again")
    curve = _curve(steps[:count].tobytes(), scores[:count].tobytes(), recording.budget)
    if curve.best <= 0:
        refuse(recording, f"has {curve.best:g} as its best {metric}; a share of it has no meaning, use another metric")
    return curve


def score_noise(recording: Recording, metric: str) -> ScoreNoise | None:
    """Return the noise of a recording's scores; None where too few were measured to say.

    Args:
        recording: a complete one.
        metric: one of the recording's.
    """
    repeated = _repeated_scores(recording, metric)
    if len(repeated) > 1:
        return ScoreNoise(float(np.std(repeated, ddof=1)), "repeated", len(repeated))
    steps, scores = recording.quality.steps, recording.quality.scores[metric]
    smoother = _smoother(steps.tobytes(), recording.budget)
    # Degrees of freedom of the residuals of a linear smoother (Cleveland and Devlin, 1988).
    residual = np.eye(len(steps)) - smoother
    freedom = float(np.trace(residual.T @ residual))
    if freedom < 1 or not np.isfinite(scores).all():
        return None
    return ScoreNoise(float(np.sqrt(np.sum((residual @ scores) ** 2) / freedom)), "residual", len(steps))


def _repeated_scores(recording: Recording, metric: str) -> list[float]:
    repeated = recording.facts.get("repeated_scores")
    scores = repeated.get(metric, []) if isinstance(repeated, dict) else []
    return [float(score) for score in scores]


@lru_cache(maxsize=4096)
def _curve(steps_bytes: bytes, scores_bytes: bytes, budget: int) -> QualityCurve:
    # By the bytes of both arrays: a study asks for the same curve once for each setting that it tries.
    steps, scores = np.frombuffer(steps_bytes, np.int64), np.frombuffer(scores_bytes, np.float64)
    smoothed = _smoother(steps_bytes, budget) @ scores
    every_step = np.arange(budget + 1)
    values: Floats = np.full(budget + 1, smoothed[0])
    if len(steps) > 1:
        values = PchipInterpolator(steps, smoothed)(every_step)
    values[: steps[0]] = np.nan
    values[steps[-1] :] = smoothed[-1]  # no course is known beyond the last snapshot
    for array in (smoothed, values):
        array.flags.writeable = False  # every replay of the recording shares them
    return QualityCurve(steps, smoothed, values)


@lru_cache(maxsize=256)
def _smoother(steps_bytes: bytes, budget: int) -> Floats:
    """Return the matrix that turns scores into smoothed scores, shape (snapshots, snapshots)."""
    steps = np.frombuffer(steps_bytes, np.int64)
    return np.array([_weights(steps, step, budget) for step in steps]).reshape(len(steps), len(steps))


def _weights(steps: NDArray[np.int64], step: int, budget: int) -> Floats:
    """Return what each snapshot's score counts for the smoothed score at a step, shape (snapshots,)."""
    distances = (steps - step) / max(1.0, REACH * budget)
    weights = np.clip(1 - np.abs(distances) ** 3, 0, None) ** 3
    near = np.flatnonzero(weights)
    if len(near) <= DEGREE:
        return np.where(steps == step, 1.0, 0.0)
    roots = np.sqrt(weights[near])[:, None]
    powers = np.vander(distances[near], DEGREE + 1, increasing=True)
    fit = np.linalg.pinv(powers * roots) * roots.T
    result = np.zeros(len(steps))
    result[near] = fit[0]  # the constant term is the fit's value at the step itself
    return result


def quality_at(recording: Recording, metric: str, stops: ArrayLike) -> Floats:
    """Return the quality after each step, in the shape of `stops`.

    Args:
        recording: a complete one.
        metric: the quality that counts.
        stops: optimizer steps, 0..budget.

    Raises:
        InvalidInput: there is no snapshot at or before a step; see also `quality_curve`.
    """
    steps = np.asarray(stops, dtype=np.int64)
    scores = np.asarray(quality_curve(recording, metric).at_every_step[steps], dtype=np.float64)
    if np.isnan(scores).any():
        first = int(steps[np.isnan(scores)].min())
        refuse(recording, f"has no quality snapshot at or before step {first}; record it again with one at step 0")
    return scores


def kept_at(recording: Recording, metric: str, stops: ArrayLike) -> Floats:
    """Return the share of the best quality that is kept after each step; arguments and errors as in `quality_at`."""
    return quality_at(recording, metric, stops) / quality_curve(recording, metric).best


def refuse(recording: Recording, problem: str) -> NoReturn:
    """Raise the error of a recording that cannot answer.

    Raises:
        InvalidInput: always; the message names concept, key and problem.
    """
    raise InvalidInput(f"recording of {recording.concept!r} ({recording.key}) {problem}")
