"""Packages: what they export is there, and a driver imports it without torch, Ray or diffusers."""

import importlib
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
def test_a_package_says_where_to_start_and_exports_what_it_names(name):
    package = importlib.import_module(name)
    assert len(package.__doc__.splitlines()) >= 3
    assert all(hasattr(package, exported) for exported in getattr(package, "__all__", []))
