"""The Ray Tune stopper: ends a trial whose runs have ended; the worker decides when, see `TrainingRun`."""

from typing import Any

from ray import tune


class StopEndedTrials(tune.Stopper):  # type: ignore[misc]
    """Ends a trial once each of its runs reports that it is complete or was stopped by its criterion.

    Only the worker evaluates the criterion, after every step: no step follows the stop, and batched reports cannot
    move it. The stopper has no state, because Ray pickles it with the experiment.
    """

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether all runs in a trial's result have ended."""
        return all(report.has_ended for report in result["reports"])

    def stop_all(self) -> bool:
        """Return False: the experiment as a whole ends only with its last trial."""
        return False
