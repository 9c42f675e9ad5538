"""The file of a best setting: written atomically, read back, refused where not understood, never lost to another."""

import random
import re
import unicodedata

import pytest
import yaml

from orchestrator.study import Study
from orchestrator.study import best as best_file
from orchestrator.study.objective import Objective
from trainables.errors import InvalidInput

MEAN = Objective(kind="mean")


@pytest.fixture
def result(recordings):
    return Study(recordings, objective=MEAN).search(10)


@pytest.fixture
def best(result):
    return best_file.from_result(result, "textual_inversion", "miniature")


def test_round_trip(result, best, tmp_path):
    path = tmp_path / "new" / "best.yaml"
    best_file.write(best, path)
    assert best_file.read(path) == best
    assert best.make_criterion() == result.best.criterion
    assert best.tuned_on == ["a", "b"]
    assert [entry.name for entry in path.parent.iterdir()] == ["best.yaml"]


def test_the_names_in_the_file(best, tmp_path):
    """Others' scripts read them."""
    best_file.write(best, tmp_path / "best.yaml")
    values = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert list(values) == [
        "criterion", "params", "format", "tuned_on", "method", "base_model", "budget", "measure",
        "quality_kept_wanted", "quality_kept", "iterations", "is_feasible", "trials", "objective", "risk", "rate_ratio",
        "choices",
    ]  # fmt: skip
    assert (values["measure"], values["quality_kept_wanted"]) == ("train_clip_image", 0.9)


def test_a_place_that_cannot_be_written_is_left_clean(best, tmp_path):
    (tmp_path / "best.yaml").mkdir()
    with pytest.raises(InvalidInput, match="cannot be written"):
        best_file.write(best, tmp_path / "best.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["best.yaml"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": {"window": 1, "threshold": 0.5}}, "window must be a whole number"),
        ({"params": {"window": 9}}, "needs 'threshold'"),
        ({"criterion": "dvra"}, "unknown criterion 'dvra'"),
        ({"budget": "many"}, "budget: "),
        ({"iterations": float("nan")}, "iterations: "),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"format": 2}, "has format 2"),
    ],
)
def test_a_file_that_is_not_understood(best, tmp_path, change, message):
    path = tmp_path / "best.yaml"
    path.write_text(yaml.safe_dump(best.model_dump() | change))
    with pytest.raises(InvalidInput, match=rf"best\.yaml.*{message}"):
        best_file.read(path)


@pytest.mark.parametrize("content", ["{", "", "- 1", "\x00"])
def test_a_damaged_file(tmp_path, content):
    path = tmp_path / "best.yaml"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"best\.yaml"):
        best_file.read(path)


def test_one_flipped_bit_is_found_or_changes_nothing(best, tmp_path):
    path = tmp_path / "best.yaml"
    best_file.write(best, path)
    rng, data, found = random.Random(0), path.read_bytes(), 0
    for _ in range(200):
        flipped, position = bytearray(data), rng.randrange(len(data) * 8)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            assert best_file.read(path) == best
        except InvalidInput:
            found += 1
    assert found > 150


def test_a_file_that_someone_changes_needs_no_hash(best, tmp_path):
    path = tmp_path / "best.yaml"
    best_file.write(best, path)
    changed = path.read_text().replace(f"trials: {best.trials}", "trials: 77")
    path.write_text(changed)
    with pytest.raises(InvalidInput, match="remove the line of the hash if you changed the settings yourself"):
        best_file.read(path)
    path.write_text("\n".join(line for line in changed.splitlines() if "sha256" not in line))
    assert best_file.read(path).trials == 77


def test_a_missing_file(tmp_path):
    with pytest.raises(InvalidInput, match="does not exist; make it with `dvar tune`"):
        best_file.read(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["café", "Ångström", "강아지"])
def test_the_names_it_was_tuned_on_are_composed(best, tmp_path, name):
    decomposed = best.model_copy(update={"tuned_on": [unicodedata.normalize("NFD", name)]})
    best_file.write(decomposed, tmp_path / "best.yaml")
    assert best_file.read(tmp_path / "best.yaml").tuned_on == [unicodedata.normalize("NFC", name)]


def tuned_for(best, method, budget, base_model="miniature"):
    return best.model_copy(update={"method": method, "budget": budget, "base_model": base_model})


def test_methods_and_budgets_have_files_of_their_own(best, tmp_path):
    settings = [("svdiff", 300), ("svdiff", 3000), ("textual_inversion", 300), ("my_methods:NormTuning", 300)]
    for method, budget in settings:
        best_file.write(tuned_for(best, method, budget), tmp_path / best_file.file_name(method, budget))
    assert len(list(tmp_path.iterdir())) == len(settings)
    for method, budget in settings:
        setting = best_file.read(best_file.find(tmp_path, method, budget))
        assert (setting.method, setting.budget) == (method, budget)


@pytest.mark.parametrize("method", ["../../x:Y", "a/b", "a b:C\n", "é:É"])
def test_a_file_s_name_stays_in_its_folder(method, tmp_path):
    path = tmp_path / best_file.file_name(method, 4)
    assert path.resolve().parent == tmp_path
    assert re.fullmatch(r"best-[\w.-]+-4\.yaml", path.name)


def test_an_older_version_s_file_is_taken_for_what_it_was_tuned(best, tmp_path):
    old, method, budget = tmp_path / "best.yaml", best.method, best.budget
    best_file.write(best, old)
    assert best_file.find(tmp_path, method, budget) == old
    for other_method, other_budget in (("svdiff", budget), (method, budget + 1), ("svdiff", budget + 1)):
        with pytest.raises(InvalidInput, match=r"does not exist.*--best \(there are best\.yaml, of other methods"):
            best_file.find(tmp_path, other_method, other_budget)
    new = tmp_path / best_file.file_name(method, budget)
    best_file.write(best, new)
    assert best_file.find(tmp_path, method, budget) == new


def test_only_a_setting_for_the_same_is_replaced(best, tmp_path):
    path = tmp_path / "mine.yaml"
    what = (best.method, best.base_model, best.budget)
    best_file.check_replaceable(path, *what)
    best_file.write(best, path)
    best_file.check_replaceable(path, *what)
    for other in (("svdiff", *what[1:]), (what[0], "sd15", what[2]), (*what[:2], what[2] + 1)):
        with pytest.raises(InvalidInput, match=rf"mine\.yaml would be replaced.*{best.method} on miniature"):
            best_file.check_replaceable(path, *other)


@pytest.mark.parametrize("content", ["budget: 300\n", "", "- 1", "{", "\x00"])
def test_another_s_file_is_not_replaced(content, tmp_path):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(InvalidInput, match="is no file of a best setting; move it away"):
        best_file.check_replaceable(tmp_path / "mine.yaml", "svdiff", "miniature", 300)


def test_that_it_never_stops(best):
    assert not best.never_stops
    assert best.model_copy(update={"iterations": float(best.budget)}).never_stops


@pytest.fixture
def promised(make_recording):
    """The file of a reliable choice among two criteria on eight concepts."""
    recordings = [make_recording(name, 200, rate=10 + 4 * i, seed=i) for i, name in enumerate("abcdefgh")]
    result = Study(recordings, names=["few_iterations", "dvar"], objective=Objective(risk=0.3)).search()
    return best_file.from_result(result, "textual_inversion", "miniature")


def test_what_was_promised_and_all_choices_come_back(promised, tmp_path):
    best_file.write(promised, tmp_path / "best.yaml")
    read = best_file.read(tmp_path / "best.yaml")
    assert read == promised
    assert (read.objective, read.risk) == ("reliable", 0.3)
    assert {read.criterion, *(choice.criterion for choice in read.choices)} == {"few_iterations", "dvar"}


def test_unless_a_risk_was_asked_for_the_file_says_which_was_taken(result, make_recording):
    few = [make_recording(name, 200, seed=i) for i, name in enumerate("ab")]
    best = best_file.from_result(Study(few).search(), "textual_inversion", "miniature")
    assert (best.objective, best.risk) == ("reliable", pytest.approx(1 / 3))  # the least that two concepts carry
    of_mean = best_file.from_result(result, "textual_inversion", "miniature")
    assert (of_mean.objective, of_mean.risk) == ("mean", None)


def test_each_criterion_has_its_own_choice_and_another_is_refused(promised):
    for choice in (promised, *promised.choices):
        assert promised.of_criterion(choice.criterion) == choice.make_criterion()
    there = ", ".join(choice.criterion for choice in (*promised.choices, promised))
    with pytest.raises(InvalidInput, match=rf"no setting of 'hall' was chosen, only of {there}; .*--criteria hall`"):
        promised.of_criterion("hall")


def test_a_file_of_an_earlier_version_has_no_choices_but_its_own(best, tmp_path):
    values = best.model_dump()
    for name in ("objective", "risk", "choices"):
        del values[name]
    (tmp_path / "best.yaml").write_text(yaml.safe_dump(values))
    read = best_file.read(tmp_path / "best.yaml")
    assert (read.objective, read.risk, read.choices) == ("mean", None, [])
    assert read.of_criterion(best.criterion) == best.make_criterion()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choices": [{"criterion": "dvra", "params": {}}]}, "unknown criterion 'dvra'"),
        ({"choices": [{"criterion": "few_iterations", "params": {"steps": 0}}]}, "steps must be a whole number"),
        ({"choices": [{"criterion": "few_iterations"}]}, r"choices.*params"),
        ({"choices": [{"criterion": "few_iterations", "params": {"steps": 5}, "extra": 1}]}, "choices.*extra"),
        ({"choices": {"few_iterations": 5}}, "choices: "),
        ({"objective": "surely"}, "objective: "),
        ({"risk": 1.0}, "risk: "),
        ({"risk": "low"}, "risk: "),
    ],
)
def test_choices_that_are_not_understood(promised, tmp_path, change, message):
    (tmp_path / "best.yaml").write_text(yaml.safe_dump(promised.model_dump() | change))
    with pytest.raises(InvalidInput, match=rf"best\.yaml is not understood: .*{message}"):
        best_file.read(tmp_path / "best.yaml")
