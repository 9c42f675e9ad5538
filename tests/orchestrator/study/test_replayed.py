"""The study: the paper's objective, never worse than the paper's setting, several criteria and two objectives."""

from dataclasses import replace
from statistics import fmean

import pytest

from orchestrator.study import Objective, Study
from search_spaces import dvar as dvar_space
from trainables.errors import InvalidInput

MEAN = Objective(kind="mean")


def test_the_best_setting_keeps_the_quality_in_fewer_steps_than_the_papers(recordings):
    result = Study(recordings, objective=Objective(0.8, kind="mean")).search(60)
    assert result.best.is_feasible
    assert result.best.quality_kept >= 0.8
    assert result.default_results[0].is_feasible
    assert result.best.iterations <= result.default_results[0].iterations
    assert result.default_results[0].params == dvar_space.default_params("textual_inversion", 200)
    assert result.trials == 60


def test_the_objective_binds(recordings):
    """More quality costs more steps, and whatever needs fewer steps than the best setting keeps too little."""
    best = {}
    for quality_kept in (0.8, 0.99):
        result = Study(recordings, objective=Objective(quality_kept, kind="mean")).search(60)
        kept = {trial.criterion: fmean(outcome.quality_kept for outcome in trial.outcomes) for trial in result.tried}
        cheaper = [trial for trial in result.tried if trial.iterations < result.best.iterations]
        assert kept[result.best.criterion] >= quality_kept
        assert len(cheaper) > 5
        assert all(kept[trial.criterion] < quality_kept for trial in cheaper)
        best[quality_kept] = result.best
    assert best[0.99].iterations > best[0.8].iterations


def test_the_papers_setting_is_tried_first(recordings):
    bests = []
    result = Study(recordings, objective=MEAN).search(1, on_trial=lambda count, best: bests.append(best))
    assert [best.params for best in bests] == [result.default_results[0].params]
    assert result.trials == 1


def test_a_methods_own_setting_is_tried_first_where_the_paper_has_none(recordings):
    stated = {"budget": 100, "window": 15, "threshold": 0.33}
    stating = [replace(recording, facts={**recording.facts, "usual": stated}) for recording in recordings]
    assert first_params(stating, "mine:Method") == {"window": 30, "threshold": 0.33}
    paper = dvar_space.default_params("textual_inversion", 200)
    assert first_params(stating, "textual_inversion") == paper
    assert first_params(recordings, "mine:Method") == paper


def first_params(recordings, method):
    return Study(recordings, method=method).search(1).default_results[0].params


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"budget": 100, "window": 15}, "'threshold'"),
        ({"budget": 100, "window": "15", "threshold": 0.3}, "window must be a whole number of at least 1, got '15'"),
        ({"budget": 0, "window": 15, "threshold": 0.3}, "budget must be a whole number of at least 1, got 0"),
    ],
)
def test_a_recording_with_a_broken_setting_of_its_method_is_named(recordings, stated, message):
    broken = replace(recordings[0], facts={"usual": stated})
    with pytest.raises(InvalidInput, match=rf"recording of 'a' .*not understood.*{message}; record it again"):
        Study([broken], method="mine:Method")
    assert Study([broken], method="textual_inversion").evaluate_default("dvar")  # the paper's is taken
    assert Study([replace(recordings[0], facts={"usual": "nothing"})]).evaluate_default("dvar")


def test_when_no_setting_is_good_enough_the_best_is_that_which_keeps_most(make_recording):
    """Quality rises to the end, and such a threshold always stops before."""
    recordings = [make_recording(name, 200, rate=60, seed=i) for i, name in enumerate("ab")]
    objective, fixed = Objective(1.0, kind="mean"), {"dvar": {"threshold": 0.9}}
    result = Study(recordings, objective=objective, fixed=fixed).search(20)
    assert not any(trial.is_feasible for trial in result.tried)
    assert result.best.quality_kept == max(trial.quality_kept for trial in result.tried)


def test_no_neighbour_is_better_than_the_best(recordings):
    for trials in (1, 5, 40):
        result = Study(recordings, objective=MEAN).search(trials)
        assert all(neighbour.rank >= result.best.rank for neighbour in result.neighbours)


def test_neighbours_surround_the_best_setting(recordings):
    result = Study(recordings, objective=MEAN).search(30)
    best = result.best.params
    changed = [{name for name in best if trial.params[name] != best[name]} for trial in result.neighbours]
    assert all(len(names) == 1 for names in changed)
    assert set.union(*changed) == set(best)


def test_two_searches_with_the_same_seed_agree(recordings):
    first, second = (Study(recordings, objective=MEAN).search(25, seed=3) for _ in range(2))
    assert first.best.params == second.best.params
    assert [trial.params for trial in first.tried] == [trial.params for trial in second.tried]


def test_another_seed_tries_other_settings(recordings):
    first, second = (
        [trial.params for trial in Study(recordings, objective=MEAN).search(12, seed=seed).tried] for seed in (3, 4)
    )
    assert first != second


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda make: [], "there are no recordings to search on"),
        (lambda make: [make("a", 100), make("b", 200)], r"different budgets \(a: 100, b: 200\)"),
    ],
)
def test_recordings_that_cannot_be_searched(make_recording, choose, message):
    with pytest.raises(InvalidInput, match=message):
        Study(choose(make_recording))


@pytest.mark.parametrize("kept", [0, 1.5, float("nan")])
def test_impossible_objectives(kept):
    with pytest.raises(InvalidInput, match=f"quality_kept must lie above 0 and at most at 1, got {kept}"):
        Objective(kept, kind="mean")


def test_any_seed_will_do(recordings):
    assert Study(recordings, objective=MEAN).search(2, seed=-5).trials == 2


def test_criteria_are_searched_together_each_in_its_own_space(recordings):
    names = ["dvar", "hall", "ema", "trend", "few_iterations", "clip_score"]
    result = Study(recordings, names=names, objective=Objective(0.8, kind="mean")).search(150)
    assert [trial.name for trial in result.default_results] == names
    best = result.best_of_each()
    assert {trial.name for trial in best} == set(names)
    assert best[0].rank == result.best.rank
    alone = Study(recordings, names=["few_iterations"], objective=Objective(0.8, kind="mean")).search(60).best
    (among,) = [trial for trial in best if trial.name == "few_iterations"]
    assert among.cost <= 1.2 * alone.cost


def test_seconds_count_what_the_criterion_costs(make_recording):
    recordings = [make_recording(name, 200, rate=20, step_seconds=0.1, l_det_seconds=0.9) for name in "ab"]
    names = ["dvar", "few_iterations"]
    steps = Study(recordings, names=names, objective=Objective(0.8, kind="mean")).search(80).best_of_each()
    seconds = Study(recordings, names=names, objective=Objective(0.8, cost="seconds")).search(80)
    assert seconds.best.name == "few_iterations"
    for trial in seconds.tried:
        assert trial.cost == pytest.approx(trial.iterations * (1.0 if trial.name == "dvar" else 0.1))
    assert abs(steps[0].cost - steps[1].cost) < 0.5 * steps[0].cost


def test_no_setting_beats_the_front(recordings):
    result = Study(recordings, objective=Objective(0.8, kind="mean")).search(60, pareto=True)
    front = result.front()
    assert len(front) > 3
    for trial in result.tried:
        assert any(best.cost <= trial.cost and best.quality_kept >= trial.quality_kept for best in front)
    for better, worse in zip(front[1:], front, strict=False):
        assert better.cost > worse.cost
        assert better.quality_kept > worse.quality_kept
    assert result.best.is_feasible
    assert result.best.cost == min(trial.cost for trial in result.tried if trial.is_feasible)
