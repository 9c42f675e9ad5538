"""The live study: what it finds, what it trains, and that it goes on where it was cut off."""

import dataclasses
import shutil

import fsspec
import optuna
import pytest

from orchestrator.criteria import DVAR
from orchestrator.replay.replay import replay
from orchestrator.runs import launch as runs
from orchestrator.study.live import ConceptSearcher, LiveStudy
from orchestrator.study.result import Objective
from orchestrator.study.search_space import SearchSpace
from orchestrator.study.storage import FilesJournal
from trainables.errors import InvalidInput


@pytest.fixture
def live(recorded, make_experiment):
    """Make a live study that stores below this test's folder."""
    _, concepts, recordings = recorded

    def make(names=("dvar",), kept=0.5, concepts=concepts, **changes):
        made = make_experiment(**changes)
        space = SearchSpace(names, made.budget, defaults=recordings[0].method_defaults)
        return LiveStudy(made, concepts, recordings[: len(concepts)], space=space, objective=Objective(kept))

    return make


@pytest.fixture(scope="module")
def models(recorded):
    from trainables.training.session import Models

    return Models.load(runs._plan(recorded[0], recorded[0].quality))


@pytest.fixture
def searching(models, one_thread, listener):
    """Search as Ray Tune does, but in this process: hand a run out, train it, and tell that it ended."""
    from trainables.training.session import Session

    def train(study, concept, criterion):
        made, store = study.experiment, runs.live_runs(study.experiment)
        (job,) = runs.jobs(made, [concept], criterion)
        plan = runs._plan(made, dataclasses.replace(made.quality, every=None)).under(criterion)
        session = Session(models, plan, concept, store.recorder(job.identity))
        try:
            while session.state == "running":
                session.advance()
        finally:
            session.close()

    def search(study, kept, storage, trials, fails=lambda criterion: False):
        searcher = ConceptSearcher(study, kept, storage, trials, [listener], None)
        concepts = {concept.name: concept for concept in study.concepts}
        while (config := searcher.suggest(trial_id := f"t{len(listener.jobs)}")) != searcher.FINISHED:
            name, criterion = config["run"]
            try:
                if fails(criterion):
                    raise ArithmeticError("it fails")
                train(study, concepts[name], criterion)
            except ArithmeticError as error:
                searcher.on_trial_complete(trial_id, error=True)
                searcher.on_run_error(searcher.jobs[config["run"]], str(error))
            else:
                searcher.on_trial_complete(trial_id)
        return searcher

    return search


@pytest.fixture
def kept():
    """An Optuna study and its storage."""

    def make(**options):
        storage = optuna.storages.InMemoryStorage()
        return optuna.create_study(storage=storage, study_name="x", **options), storage

    return make


def recorded_steps(study):
    return {row.key: (row.state, row.steps) for row in runs.live_runs(study.experiment).list()}


def test_on_ray_every_setting_stops_where_its_replay_does_and_nothing_is_trained_twice(live, recorded, listener):
    _, concepts, recordings = recorded
    study, told = live(), []
    found = study.search(3, listeners=[listener], on_trial=lambda count, best: told.append((count, best)))
    assert found.is_finished
    assert not found.failed
    result = found.result
    assert result.trials == len(told) == 3
    assert result.default_results[0].criterion == study.space.criterion("dvar", study.space.default_params["dvar"])[1]
    for one in result.tried:
        assert [outcome.concept for outcome in one.outcomes] == [concept.name for concept in concepts]
        replayed = [replay(one.criterion, full).stop_step for full in recordings]
        assert [outcome.stop_step for outcome in one.outcomes] == replayed
    assert result.best == min(result.tried, key=lambda one: one.rank) == told[-1][1]
    assert len(listener.jobs) == len(listener.ends) == len(concepts) * len(result.tried)
    assert all(one.is_good for one in listener.ends)

    before = recorded_steps(study)
    again = live().search(3, listeners=[listener])
    assert again.is_finished
    assert again.result.tried == result.tried
    assert recorded_steps(study) == before


def test_a_search_goes_on(live, kept, searching, listener):
    study, (found, storage) = live(), kept()
    first = searching(study, found, storage, 2).tried.all
    before, trained = recorded_steps(study), len(listener.jobs)
    more = searching(study, found, storage, 5)
    assert more.count == 5
    assert more.tried.all[: len(first)] == first
    assert before.items() < recorded_steps(study).items()
    assert len(listener.jobs) - trained == 2 * (len(more.tried.all) - len(first))


def test_what_a_killed_driver_left_undone_comes_first(live, kept, searching):
    """It leaves a suggestion under way: one run is done, the other was not begun."""
    study, (found, storage) = live(), kept()
    searching(study, found, storage, 1)
    name, params = study.space.suggest(found.ask())
    _, criterion = study.space.criterion(name, params)
    alone = live(concepts=study.concepts[:1])
    other = optuna.create_study()
    alone.space.enqueue(other, name, params)
    searching(alone, other, other._storage, 1)
    before = recorded_steps(study)
    tried = searching(study, found, storage, 2).tried.all
    assert tried[-1].criterion == criterion
    assert before.items() < recorded_steps(study).items()
    assert len(recorded_steps(study)) == 4
    assert [one.state.name for one in found.trials] == ["COMPLETE", "FAIL", "COMPLETE"]


def test_criteria_take_turns_and_two_objectives(live, kept, searching):
    found, storage = kept(directions=["minimize", "maximize"])
    searcher = searching(live(names=("dvar", "hall")), found, storage, 4)
    assert [one.name for one in searcher.tried.all[:2]] == ["dvar", "hall"]
    assert [trial.values for trial in found.trials[:2]] == [
        [one.cost, one.quality_kept] for one in searcher.tried.all[:2]
    ]


def test_what_keeps_too_little_breaks_the_constraint(live, kept, searching):
    found, storage = kept()
    searcher = searching(live(kept=0.9999), found, storage, 3)
    feasible = [one.is_feasible for one in searcher.tried.all]
    assert [trial.constraints["quality_kept"] <= 0 for trial in found.trials][: len(feasible)] == feasible


@pytest.fixture
def exploding(live, toy_concepts):
    """A live study in which the runs of one concept become NaN in their fifth step."""
    robot = next(concept for concept in toy_concepts if concept.name.startswith("robot"))
    return live(method__name="exploding_method:Exploding", concepts=[robot, toy_concepts[0]])


def test_it_gives_up_where_runs_fail_and_tries_them_once_more(exploding, kept, searching):
    found, storage = kept()
    first = searching(exploding, found, storage, 10)
    assert not first.is_finished
    assert not first.tried.all
    assert {one.job.concept.name for one in first.failed.values()} == {"robot_1"}
    assert len(first.failed) == 3
    assert all("at step 5" in one.reason for one in first.failed.values())
    second = searching(exploding, found, storage, 10)
    assert first.failed.keys() < second.failed.keys()  # those again, and others after them
    third = searching(exploding, found, storage, 10)
    assert not first.failed.keys() & third.failed.keys()


def test_a_setting_that_fails_is_replaced(live, kept, searching):
    study, (found, storage) = live(), kept()
    for window in (8, 9):
        study.space.enqueue(found, "dvar", {"window": window, "threshold": 0.9})
    searcher = searching(study, found, storage, 3, fails=lambda criterion: criterion.window == 9)
    assert searcher.is_finished
    assert searcher.count == 3
    assert [trial.state.name for trial in found.trials].count("FAIL") == 1
    assert [trial.state.name for trial in found.trials].count("COMPLETE") == 3
    assert len(searcher.failed) == 2


def test_a_run_that_fails_and_then_succeeds_is_no_failure(live, kept, searching, listener):
    study, (found, storage) = live(), kept()
    searcher = ConceptSearcher(study, found, storage, 1, [listener], None)
    searcher.suggest("a")
    searcher.on_trial_complete("a", error=True)
    run = next(iter(searcher.jobs.values()))
    searcher.on_run_error(run, "its worker died")
    assert [one.reason for one in searcher.failed.values()] == ["its worker died"]
    again = searching(study, found, storage, 1)
    assert again.is_finished
    assert not again.failed


def test_a_driver_that_died_while_the_sampler_chose(live, kept, searching):
    """The trial holds one of two parameters, or none; the usual setting, which it may have been, is not lost."""
    study, (found, storage) = live(), kept()
    found.ask().suggest_int("dvar.window", 8, 32, log=True)
    found.ask()
    searcher = searching(study, found, storage, 1)
    assert searcher.tried.best.criterion == study.space.criterion("dvar", study.space.default_params["dvar"])[1]
    assert [trial.state.name for trial in found.trials] == ["FAIL", "FAIL", "COMPLETE"]


def test_runs_that_were_deleted_are_trained_again(live, kept, searching):
    study, (found, storage) = live(), kept()
    searching(study, found, storage, 1)
    for row in runs.live_runs(study.experiment).list():
        shutil.rmtree(row.folder)
    searcher = searching(study, found, storage, 1)
    assert searcher.is_finished
    assert len(recorded_steps(study)) == 2


def test_an_error_while_judging_is_not_hidden(live, kept, searching, monkeypatch):
    study, (found, storage) = live(), kept()
    monkeypatch.setattr(study, "evaluate", lambda name, params: (_ for _ in ()).throw(InvalidInput("damaged")))
    searcher = searching(study, found, storage, 3)
    assert isinstance(searcher.error, InvalidInput)
    assert not searcher.is_finished


def test_a_result_that_the_storage_does_not_take_is_an_error(live, kept, searching, monkeypatch):
    study, (found, storage) = live(), kept()
    monkeypatch.setattr(optuna.Study, "tell", lambda *_, **__: (_ for _ in ()).throw(OSError("no")))
    searcher = searching(study, found, storage, 1)
    assert "did not take a result" in str(searcher.error)


def test_two_suggestions_of_one_setting_train_it_once(live, kept, searching, listener):
    """The sampler may suggest what is under way: the second one waits for the runs of the first."""
    study, (found, storage) = live(), kept()
    for _ in range(2):
        study.space.enqueue(found, "dvar", {"window": 8, "threshold": 0.3})
    searcher = ConceptSearcher(study, found, storage, 2, [], None)
    handed = [searcher.suggest(trial_id)["run"] for trial_id in "ab"]
    assert handed == [(concept.name, DVAR(8, 0.3)) for concept in study.concepts]
    assert searcher.suggest("c") is None  # one that fails would be replaced
    other = optuna.create_study()
    study.space.enqueue(other, "dvar", {"window": 8, "threshold": 0.3})
    searching(study, other, other._storage, 1)
    for trial_id in "ab":
        searcher.on_trial_complete(trial_id)
    assert searcher.suggest("c") == searcher.FINISHED
    assert [trial.state.name for trial in found.trials] == ["COMPLETE", "COMPLETE", "WAITING"]  # the usual one
    assert len(searcher.tried.all) == 1


def test_a_criterion_that_watches_samples_is_refused(live):
    with pytest.raises(InvalidInput, match=r"ClipScore.* watches samples, which a live run does not take"):
        live(names=("clip_score",))


def test_a_recording_that_is_not_complete_is_refused(recorded, make_experiment, make_recording):
    _, concepts, recordings = recorded
    short = make_recording(concepts[0].name, 40, state="failed")
    space = SearchSpace(("dvar",), 40)
    with pytest.raises(InvalidInput, match="is failed, not complete"):
        LiveStudy(make_experiment(), concepts, [short, recordings[1]], space=space, objective=Objective())


def test_the_journal_below_a_url(tmp_path):
    url = f"memory://journal-{tmp_path.name}"

    def opened():
        return optuna.storages.JournalStorage(FilesJournal(url))

    study = optuna.create_study(storage=opened(), study_name="x")
    study.optimize(lambda trial: trial.suggest_float("a", 0, 1), n_trials=3)
    again = optuna.load_study(study_name="x", storage=opened())
    assert [trial.params for trial in again.trials] == [trial.params for trial in study.trials]
    again.optimize(lambda trial: trial.suggest_float("a", 0, 1), n_trials=1)
    assert len(optuna.load_study(study_name="x", storage=opened()).trials) == 4
    (first, *_) = fsspec.filesystem("memory").ls(url, detail=False)
    fsspec.filesystem("memory").rm(first)
    with pytest.raises(InvalidInput, match=r"is damaged at 0000.*delete that folder"):
        opened()
