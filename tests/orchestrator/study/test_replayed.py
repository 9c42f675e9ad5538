"""The study: the paper's objective, never worse than the paper's setting, and best.yaml."""

from dataclasses import replace

import optuna
import pytest
import yaml

from orchestrator.config.load import build
from orchestrator.criteria import DVAR
from orchestrator.study import best as best_file
from orchestrator.study.replayed import Study
from orchestrator.study.storage import open_storage
from search_spaces import dvar as dvar_space
from trainables.errors import InvalidInput


@pytest.fixture
def recordings(make_recording):
    return [make_recording(name, 200, rate=rate, seed=i) for i, (name, rate) in enumerate([("a", 10), ("b", 20)])]


def test_the_best_setting_keeps_the_quality_in_fewer_steps_than_the_papers(recordings):
    result = Study(recordings, quality_kept=0.8).search(60)
    assert result.best.is_feasible
    assert result.best.quality_kept >= 0.8
    assert result.defaults[0].is_feasible
    assert result.best.iterations <= result.defaults[0].iterations
    assert result.defaults[0].params == dvar_space.default_params("textual_inversion", 200)
    assert result.trials == 60


def test_the_rule_binds(recordings):
    """More quality costs more steps; and one setting fewer steps than the best breaks the objective."""
    strict, loose = (Study(recordings, quality_kept=kept).search(60) for kept in (0.99, 0.6))
    assert strict.best.iterations > loose.best.iterations
    for result, kept in ((strict, 0.99), (loose, 0.6)):
        assert result.best.is_feasible
        cheaper = [trial for trial in result.tried if trial.iterations < result.best.iterations]
        assert cheaper
        assert all(trial.quality_kept < kept for trial in cheaper)
        assert any(trial.iterations < result.best.iterations for trial in result.neighbours)


def test_the_papers_setting_is_tried_first(recordings):
    seen = []
    result = Study(recordings).search(1, on_trial=lambda count, best: seen.append(best))
    assert [trial.params for trial in seen] == [result.defaults[0].params]
    assert result.trials == 1


def test_a_methods_own_setting_is_tried_first_where_the_paper_has_none(recordings):
    own = {"budget": 100, "window": 15, "threshold": 0.33}
    with_defaults = [replace(recording, facts={**recording.facts, "usual": own}) for recording in recordings]
    assert Study(with_defaults, method="mine:Method").search(1).defaults[0].params == {"window": 30, "threshold": 0.33}
    paper = dvar_space.default_params("textual_inversion", 200)
    assert Study(with_defaults, method="textual_inversion").search(1).defaults[0].params == paper
    assert Study(recordings, method="mine:Method").search(1).defaults[0].params == paper


def test_when_no_setting_is_good_enough_the_one_that_keeps_most_is_marked(recordings):
    result = Study(recordings, quality_kept=1.0).search(20)
    tried = [*result.defaults, *result.neighbours]
    assert not result.best.is_feasible
    assert result.best.quality_kept >= max(result.quality_kept for result in tried if not result.is_feasible) - 1e-12


def test_no_neighbour_is_better_than_the_best(recordings):
    for trials in (1, 5, 40):
        result = Study(recordings).search(trials)
        assert all(neighbour.rank >= result.best.rank for neighbour in result.neighbours)


def test_neighbours_surround_the_best_setting(recordings):
    result = Study(recordings).search(30)
    best = result.best.params
    assert all(neighbour.params != best for neighbour in result.neighbours)
    assert {name for neighbour in result.neighbours for name in best if neighbour.params[name] != best[name]} == set(
        best
    )


def test_a_kept_study_goes_on_without_repeating_its_samples(recordings, tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    seen = []
    options = {"storage": storage, "on_trial": lambda count, best: seen.append(count)}
    first = Study(recordings).search(8, **options)
    second = Study(recordings).search(12, **options)
    assert seen == list(range(1, 13))
    assert {default.criterion for default in first.defaults} == {default.criterion for default in second.defaults}

    (name,) = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    assert all(set(trial.constraints) == {"quality_kept"} for trial in trials)
    replayed = [
        Study(recordings).evaluate("dvar", {k.removeprefix("dvar."): v for k, v in t.params.items()}) for t in trials
    ]
    assert second.best.rank <= min(trial.rank for trial in replayed)
    params = [tuple(trial.params.values()) for trial in trials]
    assert len(set(params)) > 9


def test_two_searches_with_one_seed_agree(recordings):
    first, second = (Study(recordings).search(25, seed=3) for _ in range(2))
    assert first.best.params == second.best.params


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


def test_unusable_names_and_storages(recordings):
    with pytest.raises(InvalidInput, match="'never' has no search space"):
        Study(recordings, names=["never"])
    with pytest.raises(InvalidInput, match=r"unknown criterion 'dvarr'.*did you mean 'dvar'"):
        Study(recordings, names=["dvarr"])
    with pytest.raises(InvalidInput, match="no criterion is named; available: clip_score"):
        Study(recordings, names=[])
    with pytest.raises(InvalidInput, match="study storage 'nonsense://x' cannot be used"):
        Study(recordings).search(1, storage="nonsense://x")


@pytest.mark.parametrize("kept", [0, 1.5, float("nan")])
def test_impossible_rules(recordings, kept):
    with pytest.raises(InvalidInput, match=f"quality_kept must lie above 0 and at most at 1, got {kept}"):
        Study(recordings, quality_kept=kept)


def test_any_seed_will_do(recordings):
    assert Study(recordings).search(2, seed=-5).trials == 2


def test_an_interrupted_trial_is_not_left_running(recordings, tmp_path, monkeypatch):

    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = Study(recordings)
    calls = []

    def interrupted(name, params):
        calls.append(params)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return Study.evaluate(study, name, params)

    monkeypatch.setattr(study, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.search(10, storage=storage)
    (name,) = optuna.get_all_study_names(storage)
    states = [trial.state.name for trial in optuna.load_study(study_name=name, storage=storage).trials]
    assert states == ["COMPLETE", "COMPLETE", "FAIL"]


def test_a_place_that_cannot_be_written_is_left_clean(recordings, tmp_path):
    best = best_file.from_result(Study(recordings).search(1), "textual_inversion", "miniature")
    (tmp_path / "best.yaml").mkdir()
    with pytest.raises(InvalidInput, match="cannot be written"):
        best_file.write(best, tmp_path / "best.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["best.yaml"]


def test_best_yaml_round_trip(recordings, tmp_path):
    result = Study(recordings).search(10)
    best = best_file.from_result(result, "textual_inversion", "miniature")
    path = tmp_path / "new" / "best.yaml"
    best_file.write(best, path)
    assert best_file.read(path) == best
    assert best.make_criterion() == result.best.criterion
    assert best.tuned_on == ["a", "b"]
    assert [p.name for p in path.parent.iterdir()] == ["best.yaml"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": {"window": 1, "threshold": 0.5}}, "window must be a whole number"),
        ({"params": {"window": 9}}, "needs 'threshold'"),
        ({"criterion": "dvra"}, "unknown criterion 'dvra'"),
        ({"budget": "many"}, "budget: "),
        ({"iterations": float("nan")}, "iterations: "),
        ({"extra": 1}, "extra: "),
        ({"format": 2}, "has format 2"),
    ],
)
def test_a_best_yaml_that_is_not_understood(recordings, tmp_path, change, message):
    best = best_file.from_result(Study(recordings).search(1), "textual_inversion", "miniature")
    path = tmp_path / "best.yaml"
    path.write_text(yaml.safe_dump(best.model_dump() | change))
    with pytest.raises(InvalidInput, match=rf"best\.yaml.*{message}"):
        best_file.read(path)


@pytest.mark.parametrize("content", ["{", "", "- 1", "\x00"])
def test_a_damaged_best_yaml(tmp_path, content):
    path = tmp_path / "best.yaml"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"best\.yaml"):
        best_file.read(path)
    with pytest.raises(InvalidInput, match="does not exist; make it with `dvar tune`"):
        best_file.read(tmp_path / "none.yaml")


def test_a_found_setting_is_one_of_the_space(recordings):
    result = Study(recordings).search(20)
    space = dvar_space.space(200)
    assert all(space[name]._contains(space[name].to_internal_repr(v)) for name, v in result.best.params.items())
    assert isinstance(result.best.criterion, DVAR)


def test_criteria_are_searched_together_each_in_its_own_space(recordings):
    names = ["dvar", "hall", "ema", "trend", "few_iterations", "clip_score"]
    result = Study(recordings, names=names, quality_kept=0.8).search(150)
    assert [default.name for default in result.defaults] == names
    best = result.best_of_each()
    assert {trial.name for trial in best} == set(names)
    assert best[0].rank == result.best.rank
    alone = Study(recordings, names=["few_iterations"], quality_kept=0.8).search(60).best
    (among,) = [trial for trial in best if trial.name == "few_iterations"]
    assert among.cost <= 1.2 * alone.cost


def test_seconds_count_what_the_criterion_costs(make_recording):
    recordings = [make_recording(name, 200, rate=20, step_seconds=0.1, l_det_seconds=0.9) for name in "ab"]
    names = ["dvar", "few_iterations"]
    steps = Study(recordings, names=names, quality_kept=0.8).search(80).best_of_each()
    seconds = Study(recordings, names=names, quality_kept=0.8, cost="seconds").search(80)
    assert seconds.best.name == "few_iterations"
    for result in seconds.tried:
        assert result.cost == pytest.approx(result.iterations * (1.0 if result.name == "dvar" else 0.1))
    assert abs(steps[0].cost - steps[1].cost) < 0.5 * steps[0].cost


def test_the_front_holds_what_none_beats(recordings):
    result = Study(recordings, quality_kept=0.8).search(60, pareto=True)
    front = result.front()
    assert len(front) > 3
    for trial in result.tried:
        beaten_by = [other for other in front if other.cost <= trial.cost and other.quality_kept >= trial.quality_kept]
        assert beaten_by
    assert result.best.is_feasible
    assert result.best.cost == min(trial.cost for trial in result.tried if trial.is_feasible)


def work(storage, recordings):
    Study(recordings).search(30, storage=storage)


def test_several_processes_work_on_one_study(recordings, tmp_path):
    import multiprocessing

    storage = f"journal:{tmp_path / 'study.log'}"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(storage, recordings)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    (name,) = optuna.get_all_study_names(open_storage(storage))
    trials = optuna.load_study(study_name=name, storage=open_storage(storage)).trials
    assert 30 <= len(trials) <= 31  # the last two may begin at once
    result = Study(recordings).search(30, storage=storage)
    assert result.trials == len(trials)
    settings = [(trial.params["dvar.window"], trial.params["dvar.threshold"]) for trial in trials]
    assert len(set(settings)) > 0.8 * len(settings)  # the two did not draw the same


def test_a_worker_knows_what_the_others_found(recordings, tmp_path):
    """Another search runs to its end while this one is under way: both end knowing every setting that either tried."""
    storage, others = f"journal:{tmp_path / 'study.log'}", []

    def other_works(count, best):
        if count == 3:
            others.append(Study(recordings).search(40, storage=storage))

    result = Study(recordings).search(40, storage=storage, on_trial=other_works)
    (other,) = others
    assert result.best.rank <= other.best.rank
    trials = optuna.load_study(study_name=None, storage=open_storage(storage)).get_trials(
        states=[optuna.trial.TrialState.COMPLETE]
    )
    chosen = {(trial.params["dvar.window"], round(trial.params["dvar.threshold"], 2)) for trial in trials}
    assert len(chosen) >= 30
    for search in (result, other):
        assert {(trial.params["window"], trial.params["threshold"]) for trial in search.tried} >= chosen


def test_a_password_is_not_shown(recordings):
    url = "postgresql+psycopg://me:s3cret@nowhere.invalid/x"
    with pytest.raises(InvalidInput) as caught:
        Study(recordings).search(1, storage=url)
    assert "s3cret" not in str(caught.value)
    experiment = build(None, None, [("study.storage", url)])
    assert experiment.public()["study"]["storage"] == "postgresql+psycopg://me:***@nowhere.invalid/x"


def test_the_space_of_another_distributions_criterion_is_found(recordings, tmp_path, monkeypatch):
    (tmp_path / "other_rule.py").write_text(
        "from optuna.distributions import IntDistribution\n"
        "from orchestrator.criteria.few_iterations import FewIterations as Objective\n"
        "def space(budget, fixed=None): return {'steps': IntDistribution(1, budget)}\n"
        "def default_params(method, budget, defaults=None): return {'steps': 7}\n"
    )
    info = tmp_path / "rule-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rule\nVersion: 1.0\n")
    points = "[dvar_tune.criteria]\nmine = other_rule:Objective\n[dvar_tune.search_spaces]\nmine = other_rule\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = Study(recordings, names=["mine"], quality_kept=0.8).search(5)
    assert result.defaults[0].params == {"steps": 7}


def test_another_space_is_another_study(recordings, tmp_path, monkeypatch):

    storage = f"sqlite:///{tmp_path / 'study.db'}"
    Study(recordings).search(3, storage=storage)
    monkeypatch.setattr(dvar_space, "THRESHOLDS", (0.02, 0.5))
    assert Study(recordings).search(3, storage=storage).trials == 3
    Study(recordings, names=["dvar", "hall"]).search(3, storage=storage)
    assert len(optuna.get_all_study_names(storage)) == 3


def test_fixed_settings_stay_and_make_another_study(recordings, tmp_path):
    storage = f"journal:{tmp_path}/x.log"
    free = Study(recordings).search(10, storage=storage)
    fixed = Study(recordings, fixed={"dvar": {"stride": 5, "threshold": 0.3}}).search(10, storage=storage)
    assert free.trials == fixed.trials == 10
    assert {(result.criterion.stride, result.criterion.threshold) for result in fixed.tried} == {(5, 0.3)}
    assert len({result.criterion.window for result in fixed.tried}) > 5
    assert fixed.defaults[0].criterion.window == free.defaults[0].criterion.window


def test_fixed_settings_of_what_is_not_searched(recordings):
    with pytest.raises(InvalidInput, match=r"'hall' has fixed settings .* searched are: dvar"):
        Study(recordings, fixed={"hall": {"window": 3}})
    with pytest.raises(InvalidInput, match=r"DVAR has no parameter 'strid'; did you mean 'stride'"):
        Study(recordings, fixed={"dvar": {"strid": 3}}).search(1)


@pytest.mark.parametrize("stride", [5, 10, 25])
def test_every_window_of_a_fixed_stride_holds_two_evaluations(recordings, stride):
    result = Study(recordings, fixed={"dvar": {"stride": stride}}).search(40)
    assert all(trial.criterion.window_in_evaluations >= 2 for trial in result.tried)


def test_what_cannot_be_searched_with_something_fixed(recordings):
    with pytest.raises(InvalidInput, match="a stride of 90 steps leaves no window to search in 200 steps"):
        Study(recordings, fixed={"dvar": {"stride": 90}})
    with pytest.raises(InvalidInput, match="every setting of 'few_iterations' is fixed"):
        Study(recordings, names=["few_iterations"], fixed={"few_iterations": {"steps": 3}})
    with pytest.raises(InvalidInput, match=r"inputs=1.* was never measured"):
        Study(recordings, cost="seconds", fixed={"dvar": {"inputs": 1}}).search(1)


OWN_RULE = """
from dataclasses import dataclass
from orchestrator.criteria import FewIterations
from optuna.distributions import IntDistribution

@dataclass(frozen=True)
class Mine(FewIterations):
    pass

def space(budget, fixed=None):
    return {"steps": IntDistribution(1, budget)}

def default_params(method, budget, defaults=None):
    return {"steps": budget // 2}
"""


def test_a_rule_of_ones_own_brings_its_space_in_its_module(recordings, tmp_path, monkeypatch):
    (tmp_path / "own_rule.py").write_text(OWN_RULE)
    (tmp_path / "no_space.py").write_text(OWN_RULE.partition("def space")[0])
    monkeypatch.syspath_prepend(tmp_path)
    result = Study(recordings, names=["own_rule:Mine"], quality_kept=0.8).search(20)
    assert type(result.best.criterion).__name__ == "Mine"
    assert result.defaults[0].criterion.steps == 100
    with pytest.raises(InvalidInput, match="'no_space' needs the functions space and default_params"):
        Study(recordings, names=["no_space:Mine"])


def test_a_broken_search_space_is_named_and_the_others_stay(recordings, tmp_path, monkeypatch):
    from orchestrator.study.search_space import searchable

    (tmp_path / "broken_space.py").write_text(OWN_RULE + "raise RuntimeError('no luck')")
    folder = tmp_path / "x-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(
        "[dvar_tune.criteria]\nmine = broken_space:Mine\n[dvar_tune.search_spaces]\nmine = broken_space\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    names, problems = searchable()
    assert "dvar" in names
    assert "never" not in names
    assert "mine" not in names
    assert problems == ["the search space of 'mine', 'broken_space', cannot be imported: no luck"]
