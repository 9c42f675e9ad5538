"""The live study: what it finds, what it trains, and that it goes on where it was cut off."""

import json
import random
import shutil
from dataclasses import replace

import fsspec
import optuna
import pytest

from orchestrator import runs
from orchestrator.criteria import DVAR
from orchestrator.replay.replay import replay
from orchestrator.storage.storage import Storage
from orchestrator.study.live import LiveStudy
from orchestrator.study.objective import Objective
from orchestrator.study.search_space import SearchSpace
from orchestrator.study.storage import FilesJournal
from orchestrator.study.suggestions import SuggestionQueue
from trainables.errors import InvalidInput


@pytest.fixture
def live(recorded, make_experiment):
    """Make a live study that stores below this test's folder."""
    _, concepts, recordings = recorded

    def make(names=("dvar",), quality_kept=0.5, concepts=concepts, listeners=(), kind="mean", risk=None, **changes):
        experiment = make_experiment(**changes)
        space = SearchSpace(names, experiment.budget, defaults=recordings[0].method_defaults)
        full = recordings[: len(concepts)]
        objective = Objective(quality_kept, kind=kind, risk=risk)
        study = LiveStudy(experiment, concepts, full, space=space, objective=objective)
        return study.followed_by(*listeners)

    return make


@pytest.fixture(scope="module")
def models(recorded):
    from trainables.training.run import Models

    return Models.load(runs.full_length_runs(recorded[0]).config())


@pytest.fixture
def searching(models, one_thread, listener):
    """Search as Ray Tune does, but in this process: hand a run out, train it, and tell that it ended."""
    from trainables.training.run import TrainingRun

    def train(study, concept, spec):
        kind = runs.stopped_runs(study.experiment)
        run = TrainingRun(models, kind.config().under(spec.criterion), concept, kind.store.recorder(spec.identity))
        try:
            while run.state == "running":
                run.advance()
        finally:
            run.close()

    def search(study, optuna_study, trials, fails=lambda criterion: False):
        queue = SuggestionQueue(study, optuna_study, trials, [listener], None)
        concepts = {concept.name: concept for concept in study.concepts}
        while spec := queue.next_run():
            try:
                if fails(spec.criterion):
                    raise ArithmeticError("it fails")
                train(study, concepts[spec.concept], spec)
            except ArithmeticError as error:
                queue.run_ended(spec, has_failed=True)
                queue.run_failed(spec, str(error))
            else:
                queue.run_ended(spec, has_failed=False)
        assert queue.has_ended
        return queue

    return search


@pytest.fixture
def make_optuna_study():
    """Make an Optuna study whose suggestions are the same in every run of the tests."""
    return lambda **kwargs: optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), **kwargs)


def recorded_steps(study):
    return {row.key: (row.state, row.steps) for row in runs.live_runs(study.experiment).list()}


def test_on_ray_every_setting_stops_where_its_replay_does_and_nothing_is_trained_twice(live, recorded, listener):
    _, concepts, recordings = recorded
    study, judged = live(listeners=[listener]), []
    result = study.search(3, on_trial=lambda count, best: judged.append((count, best)))
    assert not result.failed
    assert result.trials == len(judged) == 3
    assert result.default_results[0].criterion == study.space.criterion("dvar", study.space.default_params["dvar"])[1]
    for trial in (trial for trial in result.tried if trial.name == "dvar"):
        assert [outcome.concept for outcome in trial.outcomes] == [concept.name for concept in concepts]
        replayed = [replay(trial.criterion, full).stop_step for full in recordings]
        assert [outcome.stop_step for outcome in trial.outcomes] == replayed
    trained = [trial for trial in result.tried if trial.name == "dvar"]  # numbers of steps are replayed
    assert min(trained, key=lambda result: result.rank) == judged[-1][1]
    assert len(listener.started) == len(listener.results) == len(concepts) * len(trained)
    assert all(result.is_good for result in listener.results)

    before = recorded_steps(study)
    again = live(listeners=[listener]).search(3)
    assert again.tried == result.tried
    assert recorded_steps(study) == before


def test_a_search_goes_on(live, make_optuna_study, searching, listener):
    study, optuna_study = live(), make_optuna_study()
    first = searching(study, optuna_study, 2).tried.all
    before, trained = recorded_steps(study), len(listener.started)
    more = searching(study, optuna_study, 5)
    assert more.count == 5
    assert more.tried.all[: len(first)] == first
    assert before.items() < recorded_steps(study).items()
    assert len(listener.started) - trained == 2 * (len(more.tried.all) - len(first))


def test_what_a_killed_driver_left_undone_comes_first(live, make_optuna_study, searching):
    """It leaves a suggestion under way: one run is done, the other was not begun."""
    study, optuna_study = live(), make_optuna_study()
    searching(study, optuna_study, 1)
    name, params = study.space.suggest(optuna_study.ask())
    _, criterion = study.space.criterion(name, params)
    alone = live(concepts=study.concepts[:1])
    other = optuna.create_study()
    alone.space.enqueue(other, name, params)
    searching(alone, other, 1)
    before = recorded_steps(study)
    tried = searching(study, optuna_study, 2).tried.all
    assert tried[-1].criterion == criterion
    assert before.items() < recorded_steps(study).items()
    assert len(recorded_steps(study)) == 4
    assert [trial.state.name for trial in optuna_study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]


def test_criteria_take_turns_and_two_objectives(live, make_optuna_study, searching):
    optuna_study = make_optuna_study(directions=["minimize", "maximize"])
    searcher = searching(live(names=("dvar", "hall")), optuna_study, 4)
    assert [result.name for result in searcher.tried.all[:2]] == ["dvar", "hall"]
    assert [trial.values for trial in optuna_study.trials[:2]] == [
        [result.cost, result.quality_kept] for result in searcher.tried.all[:2]
    ]


def test_a_reliable_search_varies_the_familys_parameter_alone_and_orders_what_it_tried(
    live, make_optuna_study, searching
):
    """Two criteria take turns, so that of three settings two are of DVAR; each is feasible as its family says."""
    study = live(names=("dvar", "few_iterations"), quality_kept=0.9, kind="reliable")
    assert {name: list(ranges) for name, ranges in study.space.ranges.items()} == {
        "dvar": ["threshold"],
        "few_iterations": ["steps"],
    }
    queue = searching(study, make_optuna_study(), 7)
    result = study._result(queue)
    dvar = [each for each in result.tried if each.name == "dvar"]
    assert len(dvar) > 1
    assert {each.params["window"] for each in dvar} == {8}  # a fifth of 40 steps
    assert [each.params["threshold"] for each in dvar] == sorted(each.params["threshold"] for each in dvar)
    steps = [each.params["steps"] for each in result.tried if each.name == "few_iterations"]
    assert steps == sorted(steps, reverse=True)
    for name in ("dvar", "few_iterations"):
        of_name = [each for each in result.tried if each.name == name]
        expected = study.objective.feasible([each.kept for each in of_name])
        assert [each.is_feasible for each in of_name] == expected.tolist()
        # For two concepts the least risk is a third, so that none of them may fall under the target.
        assert all(min(each.kept) >= 0.9 - 1e-9 for each in of_name if each.is_feasible)


def test_a_setting_after_one_that_fails_is_not_feasible(live, make_optuna_study, searching, monkeypatch):
    study = live(names=("few_iterations",), kind="reliable")
    queue = searching(study, make_optuna_study(), 4)
    worse = sorted(queue.tried.all, key=lambda each: -each.params["steps"])[1]
    tried = [
        replace(each, kept=(0.1, 0.1)) if each is worse else replace(each, kept=(1, 1)) for each in queue.tried.all
    ]
    ordered = study._ordered("few_iterations", tried)
    assert [each.is_feasible for each in ordered] == [True] + [False] * (len(tried) - 1)
    assert len(tried) > 2


def test_a_criterion_of_which_nothing_is_judged_yet_is_left_out(live, make_optuna_study, searching):
    study = live(names=("dvar", "few_iterations"), kind="reliable", risk=0.4)
    result = study._result(searching(study, make_optuna_study(), 1))
    assert [each.name for each in result.tried] == ["dvar"]
    assert [reference.name for reference in result.references][:1] == ["few_iterations"]


def test_a_promise_that_the_concepts_cannot_carry_is_refused_before_anything_trains(live):
    with pytest.raises(InvalidInput, match=r"with 2 tuning concepts .* on at least 4 concepts"):
        live(kind="reliable", risk=0.2)


def test_what_keeps_too_little_breaks_the_constraint(live, make_optuna_study, searching):
    optuna_study = make_optuna_study()
    searcher = searching(live(quality_kept=0.9999), optuna_study, 3)
    feasible = [result.is_feasible for result in searcher.tried.all]
    assert [trial.constraints["quality_kept"] <= 0 for trial in optuna_study.trials][: len(feasible)] == feasible


@pytest.fixture
def exploding(live, toy_concepts):
    """A live study in which the runs of one concept become NaN in their fifth step."""
    robot = next(concept for concept in toy_concepts if concept.name.startswith("robot"))
    return live(method__name="exploding_method:Exploding", concepts=[robot, toy_concepts[0]])


def test_it_gives_up_where_runs_fail_and_tries_them_once_more(exploding, make_optuna_study, searching):
    optuna_study = make_optuna_study()
    first = searching(exploding, optuna_study, 10)
    assert not first.is_finished
    assert not first.tried.all
    assert {result.spec.concept for result in first.failed.values()} == {"robot_1"}
    assert len(first.failed) == 3
    assert all("at step 5" in result.reason for result in first.failed.values())
    second = searching(exploding, optuna_study, 10)
    assert first.failed.keys() < second.failed.keys()  # those again, and others after them
    third = searching(exploding, optuna_study, 10)
    assert not first.failed.keys() & third.failed.keys()


def test_a_setting_that_fails_is_replaced(live, make_optuna_study, searching):
    study, optuna_study = live(), make_optuna_study()
    for window in (8, 9):
        study.space.enqueue(optuna_study, "dvar", {"window": window, "threshold": 0.9})
    searcher = searching(study, optuna_study, 3, fails=lambda criterion: criterion.window == 9)
    assert searcher.is_finished
    assert searcher.count == 3
    assert [trial.state.name for trial in optuna_study.trials].count("FAIL") == 1
    assert [trial.state.name for trial in optuna_study.trials].count("COMPLETE") == 3
    assert len(searcher.failed) == 2


def test_a_run_that_fails_and_then_succeeds_is_no_failure(live, make_optuna_study, searching, listener):
    study, optuna_study = live(), make_optuna_study()
    queue = SuggestionQueue(study, optuna_study, 1, [listener], None)
    spec = queue.next_run()
    queue.run_ended(spec, has_failed=True)
    queue.run_failed(spec, "its worker died")
    assert [result.reason for result in queue.failed.values()] == ["its worker died"]
    again = searching(study, optuna_study, 1)
    assert again.is_finished
    assert not again.failed


def test_a_driver_that_died_while_the_sampler_chose(live, make_optuna_study, searching):
    """The trial holds one of two parameters, or none; the usual setting, which it may have been, is not lost."""
    study, optuna_study = live(), make_optuna_study()
    optuna_study.ask().suggest_int("dvar.window", 8, 32, log=True)
    optuna_study.ask()
    searcher = searching(study, optuna_study, 1)
    assert searcher.tried.best.criterion == study.space.criterion("dvar", study.space.default_params["dvar"])[1]
    assert [trial.state.name for trial in optuna_study.trials] == ["FAIL", "FAIL", "COMPLETE"]


def test_runs_that_were_deleted_are_trained_again(live, make_optuna_study, searching):
    study, optuna_study = live(), make_optuna_study()
    searching(study, optuna_study, 1)
    for row in runs.live_runs(study.experiment).list():
        shutil.rmtree(row.folder)
    searcher = searching(study, optuna_study, 1)
    assert searcher.is_finished
    assert len(recorded_steps(study)) == 2


def test_an_error_while_judging_is_not_hidden(live, make_optuna_study, searching, monkeypatch):
    study, optuna_study = live(), make_optuna_study()
    monkeypatch.setattr(study, "evaluate", lambda name, params: (_ for _ in ()).throw(InvalidInput("damaged")))
    searcher = searching(study, optuna_study, 3)
    assert isinstance(searcher.error, InvalidInput)
    assert not searcher.is_finished


def test_a_result_that_the_storage_does_not_take_is_an_error(live, make_optuna_study, searching, monkeypatch):
    study, optuna_study = live(), make_optuna_study()
    monkeypatch.setattr(optuna.Study, "tell", lambda *_, **__: (_ for _ in ()).throw(OSError("no")))
    searcher = searching(study, optuna_study, 1)
    assert "did not accept a result" in str(searcher.error)


def test_two_suggestions_of_one_setting_train_it_once(live, make_optuna_study, searching, listener):
    """The sampler may suggest what is under way: the second one waits for the runs of the first."""
    study, optuna_study = live(), make_optuna_study()
    for _ in range(2):
        study.space.enqueue(optuna_study, "dvar", {"window": 8, "threshold": 0.3})
    searcher = SuggestionQueue(study, optuna_study, 2, [], None)
    handed = [searcher.next_run() for _ in range(2)]
    assert [(spec.concept, spec.criterion) for spec in handed] == [(c.name, DVAR(8, 0.3)) for c in study.concepts]
    assert searcher.next_run() is None
    assert not searcher.has_ended  # one that fails would be replaced
    other = optuna.create_study()
    study.space.enqueue(other, "dvar", {"window": 8, "threshold": 0.3})
    searching(study, other, 1)
    for spec in handed:
        searcher.run_ended(spec, has_failed=False)
    assert searcher.next_run() is None
    assert searcher.has_ended
    assert [trial.state.name for trial in optuna_study.trials] == ["COMPLETE", "COMPLETE", "WAITING"]  # the usual one
    assert len(searcher.tried.all) == 1


def test_a_criterion_that_watches_samples_is_refused(live):
    with pytest.raises(InvalidInput, match=r"ClipScore.* watches samples"):
        live(names=("clip_score",))


def test_a_recording_that_is_not_complete_is_refused(recorded, make_experiment, make_recording):
    _, concepts, recordings = recorded
    short = make_recording(concepts[0].name, 40, state="failed")
    space = SearchSpace(("dvar",), 40)
    with pytest.raises(InvalidInput, match="is failed, not complete"):
        LiveStudy(make_experiment(), concepts, [short, recordings[1]], space=space, objective=Objective(kind="mean"))


def test_the_journal_below_a_url(tmp_path):
    url = f"memory://journal-{tmp_path.name}"

    def opened():
        return optuna.storages.JournalStorage(FilesJournal(Storage(url)))

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


def test_a_flipped_bit_in_the_journal_is_found_or_changes_nothing(tmp_path):
    study = optuna.create_study(storage=optuna.storages.JournalStorage(FilesJournal(Storage(tmp_path))), study_name="x")
    study.optimize(lambda trial: trial.suggest_float("a", 0, 1), n_trials=1)
    expected = FilesJournal(Storage(tmp_path)).read_logs(0)
    rng, found = random.Random(0), 0
    paths = sorted(tmp_path.glob("*.json"))
    for number in range(200):
        path = paths[number % len(paths)]
        data = path.read_bytes()
        flipped, position = bytearray(data), rng.randrange(len(data) * 8)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            assert FilesJournal(Storage(tmp_path)).read_logs(0) == expected
        except InvalidInput:
            found += 1
        path.write_bytes(data)
    assert found > 150


def test_the_journal_of_an_earlier_version_is_read(tmp_path):
    study = optuna.create_study(storage=optuna.storages.JournalStorage(FilesJournal(Storage(tmp_path))), study_name="x")
    study.optimize(lambda trial: trial.suggest_float("a", 0, 1), n_trials=2)
    for path in tmp_path.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text())["logs"]))
    again = optuna.load_study(study_name="x", storage=optuna.storages.JournalStorage(FilesJournal(Storage(tmp_path))))
    assert [trial.params for trial in again.trials] == [trial.params for trial in study.trials]
