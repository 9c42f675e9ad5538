"""A study that is kept: it goes on, several work on it at once, and another space is another study."""

import multiprocessing

import optuna
import pytest

from orchestrator.config.load import build
from orchestrator.study import Study
from orchestrator.study.objective import Objective
from orchestrator.study.storage import _sampler_seed, open_storage
from search_spaces import dvar as dvar_space
from trainables.errors import InvalidInput

MEAN = Objective(kind="mean")


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture
def journal(tmp_path):
    return f"journal:{tmp_path / 'study.log'}"


def trials_in(url):
    """The trials of the only study there."""
    storage = open_storage(url)
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).trials


def params_of(trial):
    return {name.removeprefix("dvar."): value for name, value in trial.params.items()}


def test_a_kept_study_goes_on_without_repeating_its_samples(recordings, sqlite):
    bests = {}
    options = {"storage": sqlite, "on_trial": bests.__setitem__}
    first = Study(recordings, objective=MEAN).search(8, **options)
    second = Study(recordings, objective=MEAN).search(12, **options)
    assert list(bests) == list(range(1, 13))
    assert sorted(bests.values(), key=lambda best: best.rank, reverse=True) == list(bests.values())
    assert first.default_results == second.default_results
    trials = trials_in(sqlite)
    assert all(set(trial.constraints) == {"quality_kept"} for trial in trials)
    results = [Study(recordings, objective=MEAN).evaluate("dvar", params_of(trial)) for trial in trials]
    assert second.best.rank <= min(result.rank for result in results)
    assert len({tuple(trial.params.values()) for trial in trials}) == 12


def test_a_sampler_that_goes_on_and_another_worker_draw_other_samples():
    seeds = [_sampler_seed(seed, trials, is_shared=shared) for seed in (0, 1) for trials in (0, 8) for shared in (0, 1)]
    assert len(set(seeds)) == 8
    assert _sampler_seed(1, 8, is_shared=False) == _sampler_seed(1, 8, is_shared=False)


def test_an_interrupted_trial_is_not_left_running(recordings, sqlite, monkeypatch):
    study = Study(recordings, objective=MEAN)
    calls = []

    def interrupted(name, params):
        calls.append(params)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return Study.evaluate(study, name, params)

    monkeypatch.setattr(study, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.search(10, storage=sqlite)
    assert [trial.state.name for trial in trials_in(sqlite)] == ["COMPLETE", "COMPLETE", "FAIL"]


def work(storage, recordings):
    Study(recordings, objective=MEAN).search(30, storage=storage)


@pytest.mark.process
def test_several_processes_work_on_one_study(recordings, journal):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(journal, recordings)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    trials = trials_in(journal)
    assert 30 <= len(trials) <= 31  # both may begin their last trial at the same time
    result = Study(recordings, objective=MEAN).search(30, storage=journal)
    assert result.trials == len(trials)
    settings = [(trial.params["dvar.window"], trial.params["dvar.threshold"]) for trial in trials]
    assert len(set(settings)) > 0.8 * len(settings)  # the two did not draw the same samples


def test_a_worker_takes_in_what_others_tried(recordings, journal):
    """Another search runs to its end while this one is under way: each takes in what the other has tried by then."""
    mine, others = [], []

    def other_works(count, best):
        if count == 3:
            mine.extend(params_of(trial) for trial in trials_in(journal))
            others.append(Study(recordings, objective=MEAN).search(40, storage=journal))

    study = Study(recordings, objective=MEAN)
    result = study.search(40, storage=journal, on_trial=other_works)
    (other,) = others
    everything = [params_of(trial) for trial in trials_in(journal)]
    assert len(mine) == 3
    assert len(everything) == 40
    assert criteria_of(study, mine) <= {trial.criterion for trial in other.tried}
    assert criteria_of(study, everything) <= {trial.criterion for trial in result.tried}
    assert result.best.rank <= other.best.rank


def criteria_of(study, settings):
    return {study.evaluate("dvar", params).criterion for params in settings}


def test_another_space_is_another_study(recordings, sqlite, monkeypatch):
    Study(recordings, objective=MEAN).search(3, storage=sqlite)
    monkeypatch.setattr(dvar_space, "THRESHOLDS", (0.02, 0.5))
    assert Study(recordings, objective=MEAN).search(3, storage=sqlite).trials == 3
    Study(recordings, names=["dvar", "hall"], objective=MEAN).search(3, storage=sqlite)
    assert len(optuna.get_all_study_names(sqlite)) == 3


def test_fixed_settings_stay_and_make_another_study(recordings, journal):
    options = {"storage": journal}
    free = Study(recordings, objective=MEAN).search(10, **options)
    fixed = Study(recordings, objective=MEAN, fixed={"dvar": {"stride": 5, "threshold": 0.3}}).search(10, **options)
    assert free.trials == fixed.trials == 10
    assert {(trial.criterion.stride, trial.criterion.threshold) for trial in fixed.tried} == {(5, 0.3)}
    assert len({trial.criterion.window for trial in fixed.tried}) > 5
    assert fixed.default_results[0].criterion.window == free.default_results[0].criterion.window


def test_a_storage_that_cannot_be_used(recordings):
    with pytest.raises(InvalidInput, match="study storage 'nonsense://x' cannot be used"):
        Study(recordings, objective=MEAN).search(1, storage="nonsense://x")


def test_a_password_is_not_shown(recordings):
    url = "postgresql+psycopg://me:s3cret@nowhere.invalid/x"
    with pytest.raises(InvalidInput) as caught:
        Study(recordings, objective=MEAN).search(1, storage=url)
    assert "s3cret" not in str(caught.value)
    settings = build(None, None, [("study.storage", url)])
    assert settings.public()["study"]["storage"] == "postgresql+psycopg://me:***@nowhere.invalid/x"
