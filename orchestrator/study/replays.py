"""Replays: settings of criteria judged on some recordings, singly or as an ordered family."""

from collections.abc import Sequence

from orchestrator.recordings.recording import Recording
from orchestrator.replay.replay import Replayer
from orchestrator.study.objective import Objective
from orchestrator.study.result import TrialResult, judge, marked
from orchestrator.study.search_space import Params, SearchSpace
from trainables.errors import InvalidInput


class Replays:
    """Judges settings by replaying them over recordings.

    Example:
        >>> from orchestrator.recordings.collection import by_method, read_place
        >>> recordings = by_method(read_place("builtin"), "builtin", ["svdiff"])["svdiff"][:3]
        >>> replays = Replays(recordings, SearchSpace(["few_iterations"], recordings[0].budget), Objective())
        >>> replays.evaluate("few_iterations", {"steps": 300}).cost
        300.0
        >>> replays.family("few_iterations")[0].cost
        400.0

    Args:
        recordings: complete ones, at least one, all of one budget.
        space: the criteria's parameters.
        objective: how settings are judged.

    Raises:
        InvalidInput: a recording is not complete, or lacks the metric.
    """

    def __init__(self, recordings: Sequence[Recording], space: SearchSpace, objective: Objective) -> None:
        self.space, self.objective = space, objective
        self._replayers = [Replayer(recording, objective.metric) for recording in recordings]

    def evaluate(self, name: str, params: Params) -> TrialResult:
        """Replay a setting of a criterion over every recording.

        Args:
            name: of a criterion.
            params: its setting, without what is fixed.

        Raises:
            InvalidInput: the criterion refuses the setting, or a recording lacks what the criterion watches, or the
                seconds if these are the cost.
        """
        params, criterion = self.space.criterion(name, params)
        outcomes = [replayer.replay(criterion) for replayer in self._replayers]
        return judge(self.objective, name, params, criterion, outcomes)

    def family(self, name: str) -> tuple[TrialResult, ...]:
        """Replay a criterion's ordered settings, from late stops to early ones; see `SearchSpace.family`."""
        return marked(self.objective, [self.evaluate(name, params) for params in self.space.family(name)])

    def defaults(self) -> tuple[TrialResult, ...]:
        """Replay the default setting of every criterion that is searched."""
        return tuple(self.evaluate(name, params) for name, params in self.space.default_params.items())


def common_budget(recordings: Sequence[Recording]) -> int:
    """Return the budget that all recordings have.

    Raises:
        InvalidInput: there are no recordings, or their budgets differ.
    """
    if not recordings:
        raise InvalidInput("there are no recordings to search on; make some with `dvar record`")
    budgets = {recording.budget for recording in recordings}
    if len(budgets) > 1:
        listed = ", ".join(f"{recording.concept}: {recording.budget}" for recording in recordings)
        raise InvalidInput(f"the recordings have different budgets ({listed}); search on those of a single budget")
    return budgets.pop()
