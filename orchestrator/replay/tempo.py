"""Tempo: a recording as if its concept had learned more slowly, to see whether a rule follows."""

from dataclasses import replace

import numpy as np

from orchestrator.recordings.recording import Floats, Quality, Recording


def slowed(recording: Recording, factor: int) -> Recording:
    """Return a recording in which everything happens `factor` times as late, within the same budget.

    The losses between two recorded steps are interpolated; what comes after the budget is cut off. It stands in for a
    concept that learns more slowly, and is no measurement of one.

    Example:
        >>> from orchestrator.recordings.collection import pick, read_place
        >>> recording = pick(read_place("builtin"), ["robot_1"])[0]
        >>> slow = slowed(recording, 2)
        >>> len(slow.steps) == recording.budget, bool(slow.steps.l_det[199] == recording.steps.l_det[99])
        (True, True)

    Args:
        recording: a complete one, with the losses before the first step where rules need them.
        factor: at least 1.
    """
    steps, count = recording.steps, len(recording.steps)
    times = np.arange(1, count + 1) / factor
    initial = np.array(recording.facts.get("initial_losses", ()), dtype=np.float64)
    if initial.shape != steps.input_losses.shape[1:]:
        initial = steps.input_losses[0]
    inputs = np.column_stack(
        [_slowed_losses(first, losses, times) for first, losses in zip(initial, steps.input_losses.T, strict=True)]
    )
    earlier = np.maximum(1, np.ceil(times).astype(np.int64)) - 1
    l_det: Floats = np.interp(times, np.arange(1, count + 1), steps.l_det)
    table = replace(
        steps,
        l_det=l_det,
        input_losses=inputs,
        train_loss=steps.train_loss[earlier],
        grad_norm=steps.grad_norm[earlier],
        seconds=steps.seconds,
    )
    quality = recording.quality
    reached = quality.steps * factor <= count
    slow = Quality(
        quality.steps[reached] * factor,
        {metric: scores[reached] for metric, scores in quality.scores.items()},
        quality.seconds[reached],
        {kind: seconds[reached] for kind, seconds in quality.samples_seconds.items()},
    )
    return replace(recording, steps=table, quality=slow)


def _slowed_losses(first: float, losses: Floats, times: Floats) -> Floats:
    """Return an input's loss at earlier times, between the steps after which it was evaluated."""
    evaluated = np.flatnonzero(np.isfinite(losses))
    known = np.concatenate([[0], evaluated + 1])
    return np.asarray(np.interp(times, known, np.concatenate([[first], losses[evaluated]])))
