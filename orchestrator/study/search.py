"""Search: the interface that `dvar tune` uses of a study, whether it replays recordings or trains."""

from collections.abc import Callable
from typing import Protocol

from orchestrator.study.result import StudyResult, TrialResult

#: Called with the number of settings that were judged and the best result.
TrialCallback = Callable[[int, TrialResult], None]


class Search(Protocol):
    """Searches for the best setting of criteria; `replayed.Study` and `live.LiveStudy` implement it."""

    def search(
        self,
        trials: int,
        *,
        seed: int = 0,
        storage: str | None = None,
        pareto: bool = False,
        on_trial: TrialCallback | None = None,
    ) -> StudyResult:
        """Try settings until there are `trials` of them, including those of earlier calls.

        Args:
            trials: total number of settings.
            seed: of the sampler.
            storage: keeps the study, see `study.storage.open_storage`; None leaves the choice to the study.
            pareto: whether cost and quality are two objectives; otherwise quality is a constraint.
            on_trial: called after every setting with the number of settings so far and the best result.

        Raises:
            InvalidInput: the storage cannot be used.
            SearchIncomplete: too many runs of a live search failed.
        """
