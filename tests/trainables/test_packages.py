"""Packages: what they export and describe is there, and a driver imports it without torch, Ray or diffusers."""

import importlib
import pkgutil
import re
import subprocess
import sys

import pytest

PACKAGES = ["trainables", *(f"trainables.{name}" for name in ("data", "methods", "models", "quality", "training"))]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_is_imported_without_heavy_libraries(name):
    heavy = {"torch", "ray", "diffusers", "transformers", "peft", "mlflow"}
    code = f"import sys, {name}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_where_to_start_and_what_it_names_is_there(name):
    named = re.findall(r"`([\w.]+)`", importlib.import_module(name).__doc__)
    assert named
    assert not [text for text in named if not (is_there(f"{name}.{text}") or is_there(text))]


def is_there(name):
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("name", ["trainables.data", "trainables.methods", "trainables.training"])
def test_a_package_has_what_it_exports(name):
    package = importlib.import_module(name)
    assert package.__all__
    assert not [exported for exported in package.__all__ if not hasattr(package, exported)]
