"""The search space: what is searched, what is fixed, and spaces that other distributions bring."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from orchestrator.criteria import DVAR
from orchestrator.study import Objective, SearchSpace, Study
from orchestrator.study.search_space import search_space_module, searchable
from search_spaces import dvar as dvar_space
from trainables.errors import InvalidInput

MEAN = Objective(kind="mean")


def test_unusable_names():
    with pytest.raises(InvalidInput, match="'never' has no search space"):
        SearchSpace(["never"], 200)
    with pytest.raises(InvalidInput, match=r"unknown criterion 'dvarr'.*did you mean 'dvar'"):
        SearchSpace(["dvarr"], 200)
    with pytest.raises(InvalidInput, match="no criterion is named; available: area, clip_score"):
        SearchSpace([], 200)


def test_the_best_setting_lies_in_the_space(recordings):
    best, space = Study(recordings, objective=MEAN).search(20).best, dvar_space.space(200)
    assert isinstance(best.criterion, DVAR)
    assert best.params.keys() == space.keys()
    assert all(space[name].low <= value <= space[name].high for name, value in best.params.items())
    assert best.params["threshold"] == round(best.params["threshold"], 2)


def test_settings_around_another_go_a_tenth_down_and_up_inside_the_ranges():
    space = SearchSpace(["dvar"], 1000)
    around = [dict(params) for params in space.around("dvar", {"window": 100, "threshold": 0.5})]
    assert around == [
        {"window": 90, "threshold": 0.5},
        {"window": 111, "threshold": 0.5},  # 1.1 x 100 lies just above 110, and goes up to the next whole step
        {"window": 100, "threshold": 0.45},
        {"window": 100, "threshold": 0.55},
    ]
    edge = [dict(params) for params in space.around("dvar", {"window": 800, "threshold": 0.01})]
    assert edge == [{"window": 720, "threshold": 0.01}, {"window": 800, "threshold": 0.02}]


def test_an_enqueued_setting_is_known_before_it_is_suggested():
    """A process may die between: whoever goes on must know the setting of a trial that waits, or that has begun."""
    space, study = SearchSpace(["dvar", "hall"], 1000), optuna.create_study()
    params = {"window": 77, "threshold": 0.25}
    space.enqueue(study, "hall", params, {"again": 3})
    assert space.of_trial(study.trials[0]) == ("hall", params)
    trial = study.ask()
    assert trial.params == {}
    assert space.of_trial(study.trials[0]) == ("hall", params)
    assert space.suggest(trial) == ("hall", params)
    assert trial.user_attrs["again"] == 3


def test_a_trial_that_died_while_its_setting_was_chosen_has_none():
    space, study = SearchSpace(["dvar"], 1000), optuna.create_study()
    trial = study.ask()
    with pytest.raises(KeyError):
        space.of_trial(study.trials[0])
    trial.suggest_int("dvar.window", 10, 800, log=True)
    with pytest.raises(KeyError):
        space.of_trial(study.trials[0])


def test_settings_that_cannot_be_fixed(recordings, make_recording):
    with pytest.raises(InvalidInput, match="'hall' has fixed settings but is not searched; searched are: dvar"):
        SearchSpace(["dvar"], 200, fixed={"hall": {"window": 3}})
    with pytest.raises(InvalidInput, match=r"DVAR has no parameter 'strid'; did you mean 'stride'"):
        Study(recordings, fixed={"dvar": {"strid": 3}}).search(1)
    with pytest.raises(InvalidInput, match="a stride of 90 steps leaves no window to search in 200 steps"):
        SearchSpace(["dvar"], 200, fixed={"dvar": {"stride": 90}})
    with pytest.raises(InvalidInput, match="every setting of 'few_iterations' is fixed"):
        SearchSpace(["few_iterations"], 200, fixed={"few_iterations": {"steps": 3}})
    with pytest.raises(InvalidInput, match="a recording lacks measured seconds; use iterations as the cost"):
        Study([make_recording("a", 200, step_seconds=float("nan"))], objective=Objective(cost="seconds")).search(1)


@pytest.mark.parametrize("stride", [5, 10, 25])
def test_every_window_of_a_fixed_stride_holds_two_evaluations(recordings, stride):
    result = Study(recordings, fixed={"dvar": {"stride": stride}}).search(40)
    assert min(trial.criterion.window for trial in result.tried) >= 2 * stride
    assert all(trial.criterion.window_in_evaluations >= 2 for trial in result.tried)


OWN_CRITERION = """
from dataclasses import dataclass
from orchestrator.criteria import FewIterations
from optuna.distributions import IntDistribution

@dataclass(frozen=True)
class Mine(FewIterations):
    least: int = 1

def space(budget):
    return {"steps": IntDistribution(1, budget)}

def default_params(method, budget, defaults=None):
    return {"steps": budget // 2}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a module of a criterion of one's own, and return its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, text=OWN_CRITERION):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


@pytest.fixture
def announce(tmp_path, monkeypatch):
    """Install a distribution that announces the criterion "mine" and its search space."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(module):
        folder = tmp_path / "x-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1\n")
        points = f"[dvar_tune.criteria]\nmine = {module}:Mine\n[dvar_tune.search_spaces]\nmine = {module}\n"
        (folder / "entry_points.txt").write_text(points)

    return install


def test_a_criterion_of_ones_own_brings_its_space_in_its_module(recordings, own):
    own("own_criterion")
    result = Study(recordings, names=["own_criterion:Mine"], objective=Objective(0.8, kind="mean")).search(20)
    assert type(result.best.criterion).__name__ == "Mine"
    assert result.default_results[0].criterion.steps == 100


def test_a_module_without_the_two_functions(own):
    own("no_space", OWN_CRITERION.partition("def space")[0])
    with pytest.raises(InvalidInput, match="'no_space' needs the functions space and default_params"):
        search_space_module("no_space:Mine")


def test_a_space_that_takes_what_is_fixed_and_one_that_does_not(own):
    least = OWN_CRITERION.replace("space(budget):", "space(budget, fixed={}):")
    own("takes_fixed", least.replace("(1,", "(fixed.get('least', 1),"))
    own("takes_none")
    space = SearchSpace(["takes_fixed:Mine"], 200, fixed={"takes_fixed:Mine": {"least": 7}})
    assert space.ranges["takes_fixed:Mine"]["steps"].low == 7
    with pytest.raises(InvalidInput, match=r"'takes_none:Mine' cannot be called: .*takes 1 positional argument but 2"):
        SearchSpace(["takes_none:Mine"], 200, fixed={"takes_none:Mine": {"least": 7}})
    own("demands_fixed", OWN_CRITERION.replace("space(budget):", "space(budget, fixed):"))
    with pytest.raises(InvalidInput, match=r"'demands_fixed:Mine' cannot be called: .*missing 1 required .*'fixed'"):
        SearchSpace(["demands_fixed:Mine"], 200)


def test_a_range_that_is_none_of_numbers(own, monkeypatch):
    own("with_choice")
    module = search_space_module("with_choice:Mine")
    monkeypatch.setattr(module, "space", lambda budget: {"steps": CategoricalDistribution((1, 2))})
    with pytest.raises(InvalidInput, match=r"CategoricalDistribution.* for 'steps'; only ranges of numbers"):
        SearchSpace(["with_choice:Mine"], 200)


def test_the_space_of_another_distributions_criterion_is_found(recordings, own, announce):
    announce(own("other_criterion", OWN_CRITERION.replace("budget // 2", "7")))
    result = Study(recordings, names=["mine"], objective=Objective(0.8, kind="mean")).search(5)
    assert result.default_results[0].params == {"steps": 7}


def test_a_broken_search_space_is_named_and_the_others_stay(own, announce):
    announce(own("broken_space", OWN_CRITERION + "raise RuntimeError('no luck')"))
    names, problems = searchable()
    assert "dvar" in names
    assert "never" not in names
    assert "mine" not in names
    assert problems == ["the search space of 'mine', 'broken_space', cannot be imported: no luck"]
