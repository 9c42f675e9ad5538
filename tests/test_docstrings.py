"""The examples in docstrings run, in every module that has some."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRAINS = {"trainables.training.training", "trainables.training.fixed_batch"}


def modules_with_examples():
    """Return the names of all modules whose source has an example, sorted."""
    paths = [
        path for package in ("orchestrator", "search_spaces", "trainables") for path in (ROOT / package).rglob("*.py")
    ]
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if ">>> " in path.read_text(encoding="utf-8")
    ]
    return [pytest.param(name, marks=[pytest.mark.model] * (name in TRAINS)) for name in sorted(names)]


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
