"""The Ray Tune stopper: ends a trial whose runs have ended; the worker decides when, see `TrainingRun`."""

from typing import Any

from ray import tune


class StopEndedTrials(tune.Stopper):  # type: ignore[misc]
    """Ends a trial once every one of its runs says that it is complete or was stopped by its criterion.

    The criterion itself is evaluated in one place alone, on the worker, after every step: no step is done beyond the
    stop, and batches of reports cannot move it. The stopper has no state, since Ray pickles it with the experiment.
    """

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether all runs of a trial's result have ended."""
        return all(report.has_ended for report in result["reports"])

    def stop_all(self) -> bool:
        """Never end the experiment as a whole."""
        return False
