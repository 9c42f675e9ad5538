"""L_det of a recording as measured by a run that evaluates it less often, or on fewer inputs."""

import numpy as np

from orchestrator.recordings.recording import Floats, Recording
from trainables.errors import InvalidInput
from trainables.settings import LDetSchedule


def l_det_series(recording: Recording, l_det_schedule: LDetSchedule) -> Floats:
    """Return L_det after each step, shape (steps,), NaN where it would not be evaluated.

    Args:
        recording: with the losses of every input at every step.
        l_det_schedule: how to evaluate L_det; the live counterpart is
            `trainables.training.fixed_batch.LDetEvaluator`.

    Raises:
        InvalidInput: the recording lacks the losses before the first step, or has too few inputs.
    """
    steps, at = recording.steps, slice(l_det_schedule.every - 1, None, l_det_schedule.every)
    series = np.full(len(steps), np.nan)
    if l_det_schedule.inputs is None and not l_det_schedule.relative:
        series[at] = steps.l_det[at]
        return series
    initial = np.array(recording.facts.get("initial_losses", ()), dtype=np.float64)
    if initial.shape != steps.input_losses.shape[1:]:
        raise InvalidInput(
            f"recording of {recording.concept!r} ({recording.key}) lacks the fixed inputs' losses before the first "
            "step, like all recordings of an earlier version; record it again, or omit `inputs` and `relative`"
        )
    latest = steps.input_losses[at]
    if l_det_schedule.inputs is not None:
        if l_det_schedule.inputs > len(initial):
            raise InvalidInput(
                f"the criterion takes {l_det_schedule.inputs} inputs at a time, but recording of "
                f"{recording.concept!r} ({recording.key}) has {len(initial)}; use fewer"
            )
        latest = _latest(latest, initial, l_det_schedule.inputs)
    series[at] = (latest / initial if l_det_schedule.relative else latest).mean(axis=1)
    return series


def _latest(losses: Floats, initial: Floats, count_at_once: int) -> Floats:
    """Return each input's latest loss if each evaluation takes only the next inputs, shape (evaluations, inputs)."""
    count, inputs = losses.shape
    turns = np.arange(count)[:, None]
    is_evaluated = (np.arange(inputs) - turns * count_at_once) % inputs < count_at_once
    last = np.maximum.accumulate(np.where(is_evaluated, turns, -1), axis=0)
    return np.where(last >= 0, losses[np.maximum(last, 0), np.arange(inputs)], initial)
