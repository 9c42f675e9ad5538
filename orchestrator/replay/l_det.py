"""L_det of a recording, as a run that evaluates it less often, or in part, would have measured it."""

import numpy as np

from orchestrator.recordings.recording import Floats, Recording
from trainables.errors import InvalidInput
from trainables.settings import EvaluationSettings


def l_det_series(recording: Recording, evaluation: EvaluationSettings) -> Floats:
    """Return L_det after each step, shape (steps,), NaN where it would not be evaluated.

    Args:
        recording: with the losses of every input at every step.
        evaluation: how L_det would be evaluated; see `trainables.training.fixed_batch.Evaluation`, which does it live.

    Raises:
        InvalidInput: the recording lacks the losses before the first step, or has too few inputs.
    """
    steps, at = recording.steps, slice(evaluation.every - 1, None, evaluation.every)
    series = np.full(len(steps), np.nan)
    if evaluation.inputs is None and not evaluation.relative:
        series[at] = steps.l_det[at]
        return series
    initial = np.array(recording.facts.get("initial_losses", ()), dtype=np.float64)
    if initial.shape != steps.input_losses.shape[1:]:
        raise InvalidInput(
            f"recording of {recording.concept!r} ({recording.key}) lacks the fixed inputs' losses before the first "
            "step, as one of an earlier version does; record it anew, or leave `inputs` and `relative` out"
        )
    latest = steps.input_losses[at]
    if evaluation.inputs is not None:
        if evaluation.inputs > len(initial):
            raise InvalidInput(
                f"{evaluation.inputs} inputs at a time are wanted, and recording of {recording.concept!r} "
                f"({recording.key}) has {len(initial)}; ask for fewer"
            )
        latest = _latest(latest, initial, evaluation.inputs)
    series[at] = (latest / initial if evaluation.relative else latest).mean(axis=1)
    return series


def _latest(losses: Floats, initial: Floats, taken: int) -> Floats:
    """Return each input's last loss when every evaluation takes the next inputs alone, shape (evaluations, inputs)."""
    count, inputs = losses.shape
    turns = np.arange(count)[:, None]
    is_evaluated = (np.arange(inputs) - turns * taken) % inputs < taken
    last = np.maximum.accumulate(np.where(is_evaluated, turns, -1), axis=0)
    return np.where(last >= 0, losses[np.maximum(last, 0), np.arange(inputs)], initial)
