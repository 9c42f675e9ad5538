"""The search for a criterion's best setting, and what its result is worth.

Start with `Study(recordings).search()`, which replays recordings under the settings of criteria, judged by an
`Objective`. `assess(result)` says how far the choice depends on its concepts, and `Benchmark` applies it to others.
`orchestrator.study.live` searches by training instead; it brings Ray, so it is not imported here. README.md beside this
file explains how a setting is chosen, and what was measured.
"""

from orchestrator.study.benchmark import Benchmark
from orchestrator.study.benchmark_rows import BenchmarkRow, BenchmarkSettings, Rule
from orchestrator.study.benchmarking import run_benchmark
from orchestrator.study.objective import Objective
from orchestrator.study.replayed import Study
from orchestrator.study.result import StudyResult, TrialResult
from orchestrator.study.robustness import Robustness, assess
from orchestrator.study.search_space import SearchSpace

__all__ = [
    "Benchmark",
    "BenchmarkRow",
    "BenchmarkSettings",
    "Objective",
    "Robustness",
    "Rule",
    "SearchSpace",
    "Study",
    "StudyResult",
    "TrialResult",
    "assess",
    "run_benchmark",
]
