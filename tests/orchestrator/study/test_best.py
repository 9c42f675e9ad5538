"""best.yaml: written atomically, read back, and refused where it is not understood."""

import unicodedata

import pytest
import yaml

from orchestrator.study import Study
from orchestrator.study import best as best_file
from trainables.errors import InvalidInput


@pytest.fixture
def result(recordings):
    return Study(recordings).search(10)


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
        "format", "criterion", "params", "tuned_on", "method", "base_model", "budget", "measure",
        "quality_kept_wanted", "quality_kept", "iterations", "is_feasible", "trials",
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


def test_a_missing_file(tmp_path):
    with pytest.raises(InvalidInput, match="does not exist; make it with `dvar tune`"):
        best_file.read(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["café", "Ångström", "강아지"])
def test_the_names_it_was_tuned_on_are_composed(best, tmp_path, name):
    decomposed = best.model_copy(update={"tuned_on": [unicodedata.normalize("NFD", name)]})
    best_file.write(decomposed, tmp_path / "best.yaml")
    assert best_file.read(tmp_path / "best.yaml").tuned_on == [unicodedata.normalize("NFC", name)]
