"""L_det of a recording, as a run that evaluates it less often, or on some of the inputs, would have measured it."""

import numpy as np

from orchestrator.recordings.recording import Floats, Recording
from trainables.errors import InvalidInput
from trainables.settings import LDetSchedule


def l_det_series(recording: Recording, l_det_schedule: LDetSchedule) -> Floats:
    """Return L_det after each step, shape (steps,), NaN where it would not be evaluated.

    Args:
        recording: with the losses of every input at every step.
        l_det_schedule: how L_det would be evaluated; live runs have `trainables.training.fixed_batch.LDetEvaluator`.

    Raises:
        InvalidInput: the recording lacks the losses before the first step, or has too few inputs.
    """
    steps, evaluated = recording.steps, slice(l_det_schedule.every - 1, None, l_det_schedule.every)
    series = np.full(len(steps), np.nan)
    if l_det_schedule.inputs is None and not l_det_schedule.relative:
        series[evaluated] = steps.l_det[evaluated]
        return series
    initial = np.array(recording.facts.get("initial_losses", ()), dtype=np.float64)
    if initial.shape != steps.input_losses.shape[1:]:
        raise InvalidInput(
            f"recording of {recording.concept!r} ({recording.key}) lacks the fixed inputs' losses before the first "
            "step, as recordings of earlier versions do; record it anew, or leave `inputs` and `relative` out"
        )
    latest = steps.input_losses[evaluated]
    if l_det_schedule.inputs is not None:
        if l_det_schedule.inputs > len(initial):
            raise InvalidInput(
                f"{l_det_schedule.inputs} inputs at a time are wanted, and recording of {recording.concept!r} "
                f"({recording.key}) has {len(initial)}; use fewer"
            )
        latest = _latest(latest, initial, l_det_schedule.inputs)
    series[evaluated] = (latest / initial if l_det_schedule.relative else latest).mean(axis=1)
    return series


def _latest(losses: Floats, initial: Floats, per_evaluation: int) -> Floats:
    """Return each input's last loss when an evaluation takes only the next inputs, shape (evaluations, inputs)."""
    count, inputs = losses.shape
    turns = np.arange(count)[:, None]
    is_evaluated = (np.arange(inputs) - turns * per_evaluation) % inputs < per_evaluation
    last = np.maximum.accumulate(np.where(is_evaluated, turns, -1), axis=0)
    return np.where(last >= 0, losses[np.maximum(last, 0), np.arange(inputs)], initial)
