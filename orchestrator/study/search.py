"""Search: what `dvar tune` needs of a study, whether it replays recordings or trains."""

from collections.abc import Callable
from typing import Protocol

from orchestrator.study.result import StudyResult, TrialResult

#: Called with the number of settings that were judged and the best one.
TrialCallback = Callable[[int, TrialResult], None]


class Search(Protocol):
    """Finds the best setting of one or several criteria; `replayed.Study` and `live.LiveStudy` do."""

    def search(
        self,
        trials: int,
        *,
        seed: int = 0,
        storage: str | None = None,
        pareto: bool = False,
        on_trial: TrialCallback | None = None,
    ) -> StudyResult:
        """Try settings until there are `trials` of them, those of earlier calls included.

        Args:
            trials: how many in all.
            seed: of the sampler.
            storage: keeps the study, see `study.storage.open_storage`; None leaves it to the study.
            pareto: whether cost and quality are two objectives; otherwise quality is a constraint.
            on_trial: is told of every setting that was judged.

        Raises:
            InvalidInput: the storage cannot be used.
            SearchIncomplete: too many runs of a live search failed.
        """
