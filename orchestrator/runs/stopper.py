"""The Ray Tune stopper: a criterion, fed with every L_det of a trial, ends it."""

from typing import Any

from ray import tune

from orchestrator.criteria import Criterion, OnlineCriterion


class CriterionStopper(tune.Stopper):  # type: ignore[misc]
    """Ends a trial once the criterion fires on its series.

    The criterion is that of the trial's `run` (see `runs.Assignment`); without one the trial runs on. A result holds
    `l_det_values`, numbered from `first_step` on; 1 starts the series anew, as a worker does that was started again.
    A trial's history is dropped when it ends, since Ray pickles the stopper with the experiment.
    """

    def __init__(self) -> None:
        self._trials: dict[str, tuple[int, OnlineCriterion]] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take a result; return whether the trial ends.

        Raises:
            ValueError: the result does not continue the series.
        """
        criterion: Criterion | None = result["config"]["run"][1]
        if criterion is None:
            return False
        first, values = result["first_step"], result["l_det_values"]
        seen, online = self._trials.get(trial_id, (0, criterion.online()))
        if first == 1:
            seen, online = 0, criterion.online()
        if first != seen + 1:
            raise ValueError(f"trial {trial_id}: L_det goes on at step {first}, expected {seen + 1}")
        fired = False
        for value in values:
            fired = online.update(value)
        self._trials[trial_id] = (seen + len(values), online)
        if fired or result.get("done"):
            del self._trials[trial_id]
        return fired

    def stop_all(self) -> bool:
        """Never end the experiment as a whole."""
        return False
