"""The Ray Tune searcher: hands out the runs of a source one by one, a trial each."""

from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from orchestrator.runs.spec import RunSource, RunSpec


class RunSearcher(Searcher):  # type: ignore[misc]
    """Lets Tune train what a `RunSource` hands out.

    Ray's `Repeater` does something similar, but it tells its searcher the mean of one metric, while a setting is judged
    by cost and quality; and it repeats everything, while here a run that is already done is not trained again.

    Args:
        source: of the runs.
    """

    def __init__(self, source: RunSource) -> None:
        super().__init__()
        self._source = source
        self._running: dict[str, RunSpec] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles the searcher with the experiment; the source keeps what it knows in its own storage

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: see `__getstate__`."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Take nothing: see `__getstate__`."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the config of the next trial; None while it depends on runs under way, `FINISHED` when all is done."""
        spec = self._source.next_run()
        if spec is None:
            return str(Searcher.FINISHED) if self._source.has_ended else None
        self._running[trial_id] = spec
        return {"runs": (spec,)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the source that a run ended; the reason of a failed one follows by the callback of `launch.train`."""
        if spec := self._running.pop(trial_id, None):
            self._source.run_ended(spec, has_failed=error)
