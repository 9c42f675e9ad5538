"""The search for the best setting of a stopping criterion, by replay or live, and how robust the result is.

Start with `Study(recordings).search(trials)`, which replays and needs no Ray; `live.LiveStudy` trains under every
setting instead, with the same `Objective`. `search_space` holds what is searched, `storage` keeps a study, `best`
writes best.yaml, `robustness` measures how strongly a result depends on its concepts, and `benchmark` compares criteria
across methods.
"""

from orchestrator.study.replayed import Study
from orchestrator.study.result import Objective, StudyResult, TrialResult

__all__ = ["Objective", "Study", "StudyResult", "TrialResult"]
