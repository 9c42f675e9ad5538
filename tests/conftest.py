"""Fixtures for all tests: the smallest networks, and a few concepts."""

import copy
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.prefork import Prefork

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs unless -m names them: a series that is compared bit for bit is that of a CPU."""
    if not _names_gpus(config):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported; worker processes inherit it


def _names_gpus(config: pytest.Config) -> bool:
    return "gpu" in config.option.markexpr.replace("not gpu", "")


#: What a fixture brings decides the marker of the tests that use it; files whose tests start processes say so.
BROUGHT = {
    "ray": {"cluster", "recorded", "nodes"},
    "model": {"tiny_path", "loaded_base", "base", "models", "toy_concepts", "weights", "evaluator", "small_settings"},
}


#: The files that take longest, longest first (see --durations=0). What begins last should be short, or one core waits
#: for the other. Of the two that have a cluster of three nodes, the second should begin after the first has ended.
LONG = (
    "distributed/test_failures.py",
    "orchestrator/commands/test_commands.py",
    "orchestrator/runs/test_launch.py",
    "trainables/miniature/test_weights.py",
    "contracts/test_methods.py",
    "distributed/test_cluster.py",
    "orchestrator/study/test_live.py",
    "orchestrator/storage/test_failures.py",
    "orchestrator/cli/test_startup.py",
    "orchestrator/study/test_postgresql.py",
    "trainables/miniature/test_pretrain.py",
    "test_readme.py",
    "orchestrator/tracking/test_mlflow.py",
)


def _turn(item: pytest.Item) -> int:
    file = item.path.relative_to(Path(__file__).parent).as_posix()
    return LONG.index(file) if file in LONG else len(LONG)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs Ray, or networks and rendered images: `make unit` does without. Begin with what takes long."""
    if hasattr(config, "workerinput"):  # one of several processes of pytest-xdist
        items.sort(key=_turn)
    for item in items:
        if item.get_closest_marker("gpu") and not _names_gpus(config):
            item.add_marker(pytest.mark.skip(reason="GPUs are hidden; run with -m gpu"))
        for marker, fixtures in BROUGHT.items():
            if fixtures & set(getattr(item, "fixturenames", ())):
                item.add_marker(marker)


@pytest.fixture(autouse=True)
def no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own MLflow and Ray addresses out of the tests."""
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def prefork():
    """Starts Python processes that have the heavy libraries loaded: `prefork.python` in place of `sys.executable`."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="dvar-") as folder:  # an address of a socket is short
        started = Prefork(folder)
        yield started
        started.close()


@pytest.fixture(scope="session")
def mlflow_store(prefork, tmp_path_factory):
    """Put an empty MLflow store, as an earlier command left it, into a folder: to make one takes MLflow seconds."""
    made = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    code = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1]).search_experiments()"
    subprocess.run([*prefork.python, "-c", code, f"sqlite:///{made}"], check=True, capture_output=True, cwd=made.parent)

    def put(folder):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, folder)

    return put


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the miniature's with the smallest networks and random weights, on which tests are fast."""
    from trainables.miniature.models import TINY
    from trainables.miniature.pretraining.export import write_untrained

    folder = tmp_path_factory.mktemp("tiny")
    write_untrained(folder, TINY, 0)
    return folder


@pytest.fixture(scope="session")
def small_settings(tiny_path):
    """Values of an experiment whose runs take seconds."""
    return {
        "base_model.id": str(tiny_path),
        "quality.scorer": str(tiny_path / "clip"),
        "quality.every": 20,
        "quality.samples": 1,
        "quality.inference_steps": 2,
    }


@pytest.fixture(scope="session")
def small_flags(small_settings):
    """Make the flags of such an experiment; further values come over its own."""

    def make(**changes):
        values = small_settings | {key.replace("__", "."): value for key, value in changes.items()}
        return [flag for key, value in values.items() for flag in ("--set", f"{key}={value}")]

    return make


@pytest.fixture(scope="session")
def toy_concepts():
    """A few concepts of the miniature."""
    from trainables.miniature.concepts import load
    from trainables.miniature.entries import FEW

    return load(FEW)


@pytest.fixture(scope="session")
def one_thread():
    """Sums are split by threads: one thread makes series comparable bit for bit."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def loaded_base(tiny_path, one_thread):
    """The smallest base model; tests take `base`, which they may change."""
    from trainables.models.stable_diffusion import load
    from trainables.settings import BaseModelSettings

    return load(tiny_path, BaseModelSettings())


@pytest.fixture
def base(loaded_base):
    """A base model that a test may change."""
    return copy.deepcopy(loaded_base)
