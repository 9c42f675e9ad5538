"""The Ray Tune searcher: hands out the runs of a `RunSource`, one trial per run."""

from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from orchestrator.runs.spec import RunSource, RunSpec


class RunSearcher(Searcher):  # type: ignore[misc]
    """Lets Tune train the runs that a `RunSource` hands out.

    Ray's `Repeater` is similar, but it passes its searcher the mean of a single metric, while a setting is judged by
    cost and quality; and it repeats everything, while here a completed run is not trained again.

    Args:
        source: hands out the runs.
    """

    def __init__(self, source: RunSource) -> None:
        super().__init__()
        self._source = source
        self._running: dict[str, RunSpec] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles the searcher with the experiment; the source keeps its state in its own storage

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file, as Ray expects a checkpoint; the searcher has no state to keep, see `__getstate__`."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, because `save` keeps nothing; the source reads its own storage."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the config of the next trial; None while it depends on active runs, `FINISHED` at the end."""
        spec = self._source.next_run()
        if spec is None:
            return str(Searcher.FINISHED) if self._source.has_ended else None
        self._running[trial_id] = spec
        return {"runs": (spec,)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Notify the source that a run ended; for a failed run, the callback of `launch.train` passes the reason on."""
        if spec := self._running.pop(trial_id, None):
            self._source.run_ended(spec, has_failed=error)
