"""Fixtures for all tests: a cache of their own, a miniature, and a small concept."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Build the miniature into a folder of this test run, whatever is cached on the machine."""
    before = os.environ.get("DVAR_CACHE")
    os.environ["DVAR_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("DVAR_CACHE")
    if before is not None:
        os.environ["DVAR_CACHE"] = before


@pytest.fixture(autouse=True)
def no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own MLflow and Ray addresses out of the tests."""
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def miniature_path(own_cache: None) -> Path:
    """The miniature's folder in diffusers' format."""
    from trainables.miniature import miniature_folder

    return miniature_folder()


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the miniature's with the smallest networks and random weights, on which tests are fast."""
    from trainables.miniature.models import TINY
    from trainables.miniature.pretraining.export import write_untrained

    folder = tmp_path_factory.mktemp("tiny")
    write_untrained(folder, TINY, 0)
    return folder


@pytest.fixture(scope="session")
def toy_concepts(own_cache: None):
    """A few concepts of the miniature."""
    from trainables.miniature.concepts import FEW, load

    return load(FEW)
