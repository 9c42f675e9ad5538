"""The promise of the shipped recordings: of new concepts no larger share falls under the target than was promised."""

import numpy as np
import pytest

from orchestrator.recordings.collection import by_method, read_place
from orchestrator.study.objective import Objective
from orchestrator.study.replays import Replays
from orchestrator.study.search_space import SearchSpace

SPLITS, MEMBERS = 300, 60
CHEAP = {"dvar": {"relative": True, "stride": 5, "inputs": 2}}


@pytest.fixture(scope="module")
def tables():
    """Cost and share kept of each family's settings on all concepts of a method; of large families, every few."""

    def table(replays, name):
        family = replays.space.family(name)
        chosen = np.unique(np.linspace(0, len(family) - 1, MEMBERS).round().astype(int))
        results = [replays.evaluate(name, family[index]) for index in chosen]
        return np.array([result.costs for result in results]), np.array([result.kept for result in results])

    by_rule = {"few_iterations": {}, "dvar": {}}
    for method, recordings in by_method(read_place("builtin"), "builtin").items():
        space = SearchSpace(list(by_rule), recordings[0].budget, method=method, fixed=CHEAP)
        replays = Replays(recordings, space, Objective())
        for name, of_rule in by_rule.items():
            of_rule[method] = table(replays, name)
    return by_rule


@pytest.mark.parametrize("name", ["few_iterations", "dvar"])
@pytest.mark.parametrize(("risk", "concepts"), [(0.25, 8), (0.2, 24), (0.1, 24)])
def test_the_promise_is_kept_on_the_concepts_that_the_choice_did_not_see(tables, name, risk, concepts):
    objective, rng = Objective(risk=risk), np.random.default_rng(0)
    drawn = np.array([rng.permutation(56) for _ in range(SPLITS)])
    tuning, others = drawn[:, :concepts], drawn[:, concepts:]
    below = {}
    for method, (costs, kept) in tables[name].items():
        chosen = objective.choose_each(costs[:, tuning], kept[:, tuning])
        assert (chosen >= 0).mean() > 0.8  # in the others the full budget itself keeps too little
        chosen = np.maximum(0, chosen)  # where none is good enough, the latest
        below[method] = objective.falls_below(kept[chosen[:, None], others]).mean()
        assert costs[chosen[:, None], others].mean() < 0.8 * costs[0].mean()  # which is no promise to use the budget
    assert len(below) == 6
    assert np.mean(list(below.values())) <= risk + 0.01
    assert max(below.values()) <= risk + 0.02
    # Nor is the promise kept by stopping far later than it demands: what an allowed failure more would give is close.
    assert np.mean(list(below.values())) > risk / 2


def test_the_papers_objective_makes_no_such_promise(tables):
    """Chosen by the mean on 8 concepts, far more than a quarter of the others fall under the target."""
    objective, rng = Objective(kind="mean"), np.random.default_rng(0)
    drawn = np.array([rng.permutation(56) for _ in range(SPLITS)])
    below = []
    for costs, kept in tables["few_iterations"].values():
        chosen = np.maximum(0, objective.choose_each(costs[:, drawn[:, :8]], kept[:, drawn[:, :8]]))
        below.append(objective.falls_below(kept[chosen[:, None], drawn[:, 8:]]).mean())
    assert min(below) > 0.27
