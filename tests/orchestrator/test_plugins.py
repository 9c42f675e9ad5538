"""Plugins: built in, from entry points, by spec; broken ones are named and harm nothing else."""

import importlib
import re
import sys

import pytest

from orchestrator import plugins
from orchestrator.commands import list as listing
from orchestrator.config.load import build
from orchestrator.criteria import DVAR, Criterion, load
from orchestrator.recordings.identity import json_hash
from search_spaces.paper import PAPER
from trainables.errors import InvalidInput

SOURCE = """
from dataclasses import dataclass
from typing import ClassVar
from orchestrator.criteria import Criterion, FewIterations

@dataclass(frozen=True)
class AfterTwo(Criterion):
    series: ClassVar[str] = "l_det"
    def holds(self, values):
        return FewIterations(2).holds(values)
    def condition(self):
        return FewIterations(2).condition()
"""


@pytest.fixture
def other_distribution(tmp_path, monkeypatch):
    """Another distribution with a good, a broken and a hidden criterion."""
    (tmp_path / "other_criteria.py").write_text(SOURCE)
    (tmp_path / "broken_criteria.py").write_text("import a_package_that_is_not_there")
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    points = ["after_two = other_criteria:AfterTwo", "broken = broken_criteria:X", "dvar = other_criteria:AfterTwo"]
    (info / "entry_points.txt").write_text("[dvar_tune.criteria]\n" + "\n".join(points) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_built_in_names_need_no_import():
    first = ["area", "clip_score", "cusum", "divergence", "dvar", "ema", "few_iterations", "hall", "level"]
    later = ["mann_kendall", "never", "patience", "proportional", "relative_gain", "steps_per_image", "trend"]
    assert plugins.CRITERIA.names() == [*first, *later]
    built_in = ["custom_diffusion", "dreambooth", "dreambooth_lora", "p_plus", "svdiff", "textual_inversion"]
    assert plugins.METHODS.names() == built_in


def test_an_entry_point_is_found_by_name(other_distribution):
    assert "after_two" in plugins.CRITERIA.names()
    assert load("after_two").first_stop([1, 2, 3]) == 2


def test_a_spec_needs_no_entry_point(other_distribution):
    assert load("other_criteria:AfterTwo") == load("after_two")


def test_a_broken_plugin_is_named_and_harms_nothing_else(other_distribution):
    assert load("dvar", window=3, threshold=0.5) == DVAR(3, 0.5)
    with pytest.raises(InvalidInput, match=r"criterion 'broken' .*a_package_that_is_not_there"):
        load("broken")
    problems = plugins.CRITERIA.problems(Criterion)
    assert len(problems) == 2
    assert any("'broken'" in problem for problem in problems)
    assert any("hidden by one of the same name" in problem for problem in problems)


@pytest.mark.parametrize("spec", ["nowhere:X", "orchestrator.criteria:load", "orchestrator.criteria:Criterion", ":X"])
def test_specs_that_name_no_criterion(spec):
    with pytest.raises(InvalidInput, match="criterion"):
        load(spec)


def test_methods_are_listed_and_a_broken_one_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken_methods.py").write_text("import a_package_that_is_not_there")
    info = tmp_path / "another-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dvar_tune.methods]\nlost = broken_methods:X\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    assert listing.methods() is False
    printed = capsys.readouterr().out
    assert all(name in printed for name in plugins.METHODS.names() if name != "lost")
    assert re.search(r"unusable method 'lost' .*a_package_that_is_not_there", printed)
    monkeypatch.undo()
    assert listing.methods() is True


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys\nsys.exit(3)", r"unusable method 'lost' cannot be loaded from 'bad_methods:X': SystemExit: 3"),
        (
            "from trainables.methods.base import Method\nclass X(Method):\n"
            "    trains_text = attach = parameters = export = load_into = state_dict = load_state_dict = None",
            "method 'lost' lacks a class attribute: .*'trains'",
        ),
    ],
)
def test_a_faulty_plugin_leaves_the_others_listed(tmp_path, monkeypatch, capsys, source, message):
    (tmp_path / "bad_methods.py").write_text(source)
    info = tmp_path / "bad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dvar_tune.methods]\nlost = bad_methods:X\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "bad_methods", raising=False)
    assert listing.methods() is False
    printed = capsys.readouterr().out
    assert "textual_inversion" in printed
    assert re.search(message, printed)


def test_the_source_of_a_plugin_is_part_of_what_it_records(tmp_path, monkeypatch, toy_concepts):
    """Whoever changes a method of their own gets no recording of what it was."""
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "changing_method.py"
    keys = set()
    for rate in (1e-3, 0.5):
        file.write_text(f"RATE = {rate}")
        importlib.invalidate_caches()
        experiment = build(None, None, [("method.name", "changing_method:X")])
        keys.add(json_hash(experiment.identity(toy_concepts[0], "files")))
    assert len(keys) == 2
    assert plugins.METHODS.source("svdiff") is None
    with pytest.raises(InvalidInput, match="there is no module 'nowhere_at_all'"):
        plugins.METHODS.source("nowhere_at_all:X")


def test_the_listed_settings_of_the_papers_methods_are_the_papers():
    """The search knows them without importing torch, and a method shows them: two places, one truth."""
    from trainables.methods.base import Method

    for name, paper in PAPER.items():
        method = plugins.METHODS.load(name, Method)
        assert (method.budget, method.window, method.threshold) == (
            paper.dvar.budget,
            paper.dvar.window,
            paper.dvar.threshold,
        )
