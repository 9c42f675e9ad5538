"""References: what stands beside every search's result, such as the fixed number of steps that a rule has to beat."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from orchestrator.recordings.recording import Recording
from orchestrator.replay.aggregate import mean_by_concept
from orchestrator.replay.quality import quality_curve
from orchestrator.study.objective import Objective
from orchestrator.study.recommendation import FIXED, PER_IMAGE, compare_all, recommended
from orchestrator.study.replays import Replays
from orchestrator.study.result import StudyResult, TrialResult


def finished_result(
    replays: Replays,
    recordings: Sequence[Recording],
    by_name: Mapping[str, tuple[TrialResult, ...]],
    *,
    trials: int,
    sampled: TrialResult | None = None,
    neighbours_of: Callable[[TrialResult], Sequence[TrialResult]] | None = None,
) -> StudyResult:
    """Return a study's result: the best setting, and beside it what a fixed number of steps would do.

    Args:
        replays: of the study's recordings.
        recordings: the same.
        by_name: every setting that was tried of each criterion; ordered from late stops to early ones where the
            objective is "reliable".
        trials: number of settings that were tried.
        sampled: the sampler's best setting of DVAR, where the plane was searched exactly afterwards.
        neighbours_of: gives the settings around the best; None takes those beside it in its family.
    """
    objective = replays.objective
    fixed = by_name.get(FIXED) or replays.family(FIXED)
    comparisons = compare_all(objective, by_name, fixed)
    best = recommended([min(results, key=_rank) for results in by_name.values()], comparisons)
    references = [] if FIXED in by_name else [min(fixed, key=_rank)]
    if PER_IMAGE not in by_name and all(recording.identity.image_count for recording in recordings):
        references.append(min(replays.family(PER_IMAGE), key=_rank))
    neighbours = neighbours_of(best) if neighbours_of else _beside(best, by_name[best.name])
    return StudyResult(
        objective=objective,
        budget=replays.space.budget,
        trials=trials,
        best=best,
        default_results=replays.defaults(),
        neighbours=tuple(neighbours),
        tried=tuple(result for results in by_name.values() for result in results),
        references=tuple(references),
        comparisons=comparisons,
        sampled=sampled,
        needed_steps=needed_steps(recordings, objective),
    )


def _rank(result: TrialResult) -> tuple[float, float, float]:
    return result.rank


def _beside(result: TrialResult, family: Sequence[TrialResult]) -> list[TrialResult]:
    at = next(index for index, member in enumerate(family) if member.criterion == result.criterion)
    return [family[index] for index in (at - 1, at + 1) if 0 <= index < len(family)]


def needed_steps(recordings: Sequence[Recording], objective: Objective) -> tuple[int | None, ...]:
    """Return the first step at which each concept keeps the target; None where it never does.

    Args:
        recordings: complete ones of one budget; the quality kept of several seeds is averaged.
        objective: gives target and metric.
    """
    curves = [quality_curve(recording, objective.metric).kept_at_every_step for recording in recordings]
    concepts = mean_by_concept([recording.concept for recording in recordings], np.nan_to_num(curves))
    reached = [~objective.falls_below(kept) for kept in concepts.values()]
    return tuple(int(enough.argmax()) if enough.any() else None for enough in reached)
