"""The search for a criterion's best setting, and what its result is worth.

Start with `Study(recordings).search(trials)`, which replays recordings under settings that Optuna suggests, judged by
an `Objective`. `assess(result)` says how far the choice depends on its concepts, and `Benchmark` applies it to others.
`orchestrator.study.live` searches by training instead; it brings Ray, so it is not imported here. README.md beside this
file explains how a setting is chosen, and what was measured.
"""

from orchestrator.study.benchmark import Benchmark, BenchmarkRow, SearchConfig, run_benchmark
from orchestrator.study.objective import Objective
from orchestrator.study.replayed import Study
from orchestrator.study.result import StudyResult, TrialResult
from orchestrator.study.robustness import Robustness, assess
from orchestrator.study.search_space import SearchSpace

__all__ = [
    "Benchmark",
    "BenchmarkRow",
    "Objective",
    "Robustness",
    "SearchConfig",
    "SearchSpace",
    "Study",
    "StudyResult",
    "TrialResult",
    "assess",
    "run_benchmark",
]
