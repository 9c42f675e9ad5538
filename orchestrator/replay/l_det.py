"""L_det of a recording, as a run that evaluates it less often, or on other inputs, would have measured it; its cost."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from orchestrator.recordings.recording import Floats, Recording
from trainables.errors import InvalidInput
from trainables.l_det import PASS, REMEDIES, Term, combined, terms
from trainables.settings import PAPER, LDetSchedule

#: Numbers of the paper's inputs that may be timed, as facts have them.
COUNTS = {str(count) for count in range(1, 65)}


def l_det_series(recording: Recording, l_det_schedule: LDetSchedule) -> Floats:
    """Return L_det after each step, shape (steps,), NaN where it would not be evaluated.

    A live run agrees to the last bit; except that of the paper's batch some `inputs` at a time round differently than
    all of them at once (by a ten-millionth), while the other batches are evaluated in passes of the same size always.

    Args:
        recording: a full-length one.
        l_det_schedule: how L_det would be evaluated; live runs have `trainables.training.fixed_batch.LDetEvaluator`.

    Raises:
        InvalidInput: the recording lacks the batch, the losses before the first step or evaluations that are needed,
            or has too few inputs; the message says what to do.
    """
    steps, evaluated = recording.steps, slice(l_det_schedule.every - 1, None, l_det_schedule.every)
    series = np.full(len(steps), np.nan)
    if l_det_schedule.is_papers:
        series[evaluated] = steps.l_det[evaluated]
        return series
    parts = _terms(recording, l_det_schedule)
    initial = np.array(recording.facts.get("initial_losses", ()), dtype=np.float64)
    needs_initial = l_det_schedule.inputs is not None or l_det_schedule.relative
    if initial.shape != steps.input_losses.shape[1:]:
        if needs_initial:
            raise InvalidInput(
                f"{_called(recording)} lacks the fixed inputs' losses before the first step, as recordings of earlier "
                "versions do; record it anew, or leave `inputs` and `relative` out"
            )
        initial = np.ones(steps.input_losses.shape[1])
    latest = steps.input_losses[evaluated]
    _check_evaluated(recording, l_det_schedule, latest, parts)
    if l_det_schedule.inputs is not None:
        latest = latest.copy()
        for part in parts:
            columns = list(part.columns)
            latest[:, columns] = _latest(latest[:, columns], initial[columns], part.per_evaluation)
    series[evaluated] = combined(latest, initial, parts, relative=l_det_schedule.relative)
    return series


def _called(recording: Recording) -> str:
    return f"recording of {recording.concept!r} ({recording.key})"


def _terms(recording: Recording, schedule: LDetSchedule) -> tuple[Term, ...]:
    inputs = recording.inputs
    for batch in schedule.batches:
        if batch not in inputs.batches:
            raise InvalidInput(
                f"{_called(recording)} was made without the {batch} batch; record it anew with `dvar record` and "
                f"{REMEDIES.get(batch, batch)}, or use the paper's L_det (--l-det paper)"
            )
    try:
        return terms(inputs, schedule)
    except InvalidInput as error:
        raise InvalidInput(f"{_called(recording)}: {error}") from error


def _check_evaluated(recording: Recording, schedule: LDetSchedule, losses: Floats, parts: tuple[Term, ...]) -> None:
    """Refuse a schedule that looks at steps after which the batch was not evaluated."""
    columns = [column for part in parts for column in part.columns]
    bad = np.flatnonzero(~np.isfinite(losses[:, columns]).all(axis=1))
    if bad.size:
        raise InvalidInput(
            f"{_called(recording)} has no losses of the {' or '.join(schedule.batches)} batch at step "
            f"{(int(bad[0]) + 1) * schedule.every}, at which an evaluation every {schedule.every} steps looks; use a "
            "multiple of the steps between its evaluations, or record it anew with a smaller `every` of the batch"
        )


def _latest(losses: Floats, initial: Floats, per_evaluation: int) -> Floats:
    """Return each input's last loss when an evaluation takes only the next inputs, shape (evaluations, inputs)."""
    count, inputs = losses.shape
    turns = np.arange(count)[:, None]
    is_evaluated = (np.arange(inputs) - turns * per_evaluation) % inputs < per_evaluation
    last = np.maximum.accumulate(np.where(is_evaluated, turns, -1), axis=0)
    return np.where(last >= 0, losses[np.maximum(last, 0), np.arange(inputs)], initial)


@dataclass(frozen=True)
class LDetCost:
    """What the evaluations of L_det until a step take.

    Attributes:
        seconds: of all of them together.
        is_estimate: whether it follows from the time of other evaluations; otherwise these same were measured.
    """

    seconds: float
    is_estimate: bool


def l_det_cost(recording: Recording, schedule: LDetSchedule, steps: int) -> LDetCost | None:
    """Return what the evaluations of L_det under a schedule take until a step; None if nothing says.

    The paper's batch, all inputs at once, was measured at every step. Other evaluations are estimated: from the time
    of an evaluation of as many inputs, which the recording's machine measured before it trained; where that is missing,
    as in recordings of earlier versions, from the time per input of the paper's batch.

    Args:
        recording: a full-length one.
        schedule: how L_det would be evaluated.
        steps: optimizer steps done.

    Raises:
        InvalidInput: the recording cannot be replayed under the schedule.
    """
    measured = recording.steps.l_det_seconds[schedule.every - 1 : steps : schedule.every]
    papers = recording.inputs.of(PAPER)
    if schedule.batches == (PAPER,) and schedule.inputs in (None, len(papers)):
        return _finite(float(measured.sum()), is_estimate=False)  # at once, whether or not every input counts
    seconds = 0.0
    for batch, part in zip(schedule.batches, _terms(recording, schedule), strict=True):
        count = len(papers) if batch == PAPER and schedule.inputs is None else part.per_evaluation
        known = recording.facts.get("l_det_costs", {}).get(batch, {})
        each = _seconds_of_papers(known, count) if batch == PAPER else _seconds_of_passes(known, count)
        seconds += float(measured.sum()) * count / len(papers) if each is None else each * len(measured)
    return _finite(seconds, is_estimate=True)


def _finite(seconds: float, *, is_estimate: bool) -> LDetCost | None:
    return LDetCost(seconds, is_estimate) if np.isfinite(seconds) else None


def _seconds_of_papers(costs: Mapping[str, float], count: int) -> float | None:
    """Return the seconds of a pass of `count` inputs, between two measured counts on a straight line."""
    known = sorted((int(key), seconds) for key, seconds in costs.items() if key in COUNTS)
    if not known or count > known[-1][0]:
        return None
    counts, seconds = zip(*known, strict=True)
    return float(np.interp(count, counts, seconds))


def _seconds_of_passes(costs: Mapping[str, float], count: int) -> float | None:
    """Return the seconds of the passes that `count` inputs take."""
    return costs[str(PASS)] * math.ceil(count / PASS) if str(PASS) in costs else None
