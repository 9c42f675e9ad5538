"""Runs on a Ray cluster: what a run is, where it is kept, and how it is trained, stopped and followed.

Start with `record`, which trains concepts for the full budget, and `live`, which trains them until a criterion stops
them; both return a `RunResult` per `RunSpec` and notify `Listener`s on the way. Ray itself is imported only when
something trains. `cluster` connects to it, `searcher` and `stopper` adapt to Ray Tune, and `lease` keeps a second
driver off.
"""

from orchestrator.runs.checks import check_live
from orchestrator.runs.launch import (
    RunKind,
    Trials,
    full_length_runs,
    live,
    record,
    stopped_runs,
    train,
)
from orchestrator.runs.places import (
    LIVE,
    live_runs,
    recordings,
    run_result,
    run_specs,
    storage_of,
)
from orchestrator.runs.spec import Listener, RunResult, RunSource, RunSpec

__all__ = [
    "LIVE",
    "Listener",
    "RunKind",
    "RunResult",
    "RunSource",
    "RunSpec",
    "Trials",
    "check_live",
    "full_length_runs",
    "live",
    "live_runs",
    "record",
    "recordings",
    "run_result",
    "run_specs",
    "stopped_runs",
    "storage_of",
    "train",
]
