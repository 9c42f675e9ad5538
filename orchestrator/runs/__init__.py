"""Runs on a Ray cluster: what a run is, where it is kept, and how it is trained, stopped and followed.

`record` trains concepts for their whole budget, `live` until a criterion stops them; both return a `RunResult` per
`RunSpec` and tell `Listener`s on the way. Ray itself is imported once something trains.
"""

from orchestrator.runs.launch import (
    RunKind,
    Trials,
    check_live,
    full_length_runs,
    live,
    record,
    stopped_runs,
    train,
)
from orchestrator.runs.places import (
    LIVE,
    RECORDINGS,
    live_runs,
    recordings,
    run_result,
    run_specs,
    storage_of,
)
from orchestrator.runs.spec import Listener, RunResult, RunSource, RunSpec

__all__ = [
    "LIVE",
    "RECORDINGS",
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
