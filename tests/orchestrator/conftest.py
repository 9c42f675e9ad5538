"""Fixtures for runs on a real, small Ray cluster."""

import sys

import numpy as np
import pytest

from orchestrator import runs
from orchestrator.config.load import build
from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.recording import Quality, Recording, Steps
from orchestrator.runs.connection import start

EXPLODING = '''
from trainables.methods.textual_inversion import TextualInversion

class Exploding(TextualInversion):
    """Its embedding becomes NaN in the fifth step, for one concept alone."""

    calls = 0

    def attach(self, base, concept, generator):
        self.name = concept.name
        super().attach(base, concept, generator)

    def loss(self, base, inputs):
        self.calls += 1
        if self.calls == 5 and self.name.startswith("robot"):
            self.load_state_dict({"vectors": self.state_dict()["vectors"] * float("nan")})
        return super().loss(base, inputs)
'''


DYING = '''
import os
import signal
from pathlib import Path

from trainables.methods.textual_inversion import TextualInversion

class Dying(TextualInversion):
    """Its process is killed in the fifth step, once."""

    calls = 0

    def loss(self, base, inputs):
        self.calls += 1
        mark = Path(__file__).with_name("died")
        if self.calls == 5 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(base, inputs)
'''


@pytest.fixture(scope="session")
def plugin_folder(tmp_path_factory):
    """A folder with methods that are no part of the project."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "exploding_method.py").write_text(EXPLODING)
    (folder / "dying_method.py").write_text(DYING)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def cluster(plugin_folder, prefork):
    """A Ray cluster of two CPUs and no GPU whose workers see the plugins, and begin with the libraries loaded."""
    import os

    import ray

    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    environment = {"PYTHONPATH": str(plugin_folder)}
    start(num_cpus=2, num_gpus=0, runtime_env={"env_vars": environment} | prefork.runtime_env)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def recorded(cluster, tmp_path_factory, toy_concepts, small_settings):
    """Two concepts, recorded once: the experiment, the concepts, the recordings."""
    overrides = {"storage": str(tmp_path_factory.mktemp("recorded")), "budget": 40, "resources.checkpoint_seconds": 0}
    overrides |= small_settings
    experiment = build("miniature", None, list(overrides.items()))
    concepts = toy_concepts[:2]
    ended = runs.record(experiment, concepts)
    assert [result.state for result in ended] == ["complete", "complete"], [result.reason for result in ended]
    return experiment, concepts, [runs.recordings(experiment).find(result.spec.identity) for result in ended]


@pytest.fixture
def make_experiment(tmp_path, small_settings):
    """Make a small experiment that stores below this test's folder."""

    def make(**changes):
        defaults = {"storage": str(tmp_path / "store"), "budget": 40, "resources.checkpoint_seconds": 0}
        defaults |= small_settings
        overrides = defaults | {key.replace("__", "."): value for key, value in changes.items()}
        return build("miniature", None, list(overrides.items()))

    return make


class Listener:
    """Remembers what it was told."""

    def __init__(self):
        self.started, self.reports, self.results = [], {}, []

    def runs_started(self, specs, budget):
        self.started += [spec.concept for spec in specs]

    def run_reported(self, spec, report):
        self.reports.setdefault(spec.concept, []).append(report)

    def run_ended(self, result):
        self.results.append(result)

    def l_det(self, name):
        return [value for report in self.reports[name] for value in report.l_det]


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def make_recording():
    """Make a recording of a decaying L_det with a rising quality."""

    def make(name="a", budget=50, *, steps=None, rate=8.0, every=10, seed=0, state="complete", **seconds):
        rng = np.random.default_rng(seed)
        count = budget if steps is None else steps
        k = np.arange(1, count + 1)
        l_det = 1 + 0.1 * np.exp(-k / rate) + 0.001 * rng.normal(size=count)
        table = Steps(
            l_det=l_det,
            train_loss=1 + 0.1 * rng.normal(size=count),
            grad_norm=np.ones(count),
            seconds=np.full(count, seconds.get("step_seconds", 0.1)),
            l_det_seconds=np.full(count, seconds.get("l_det_seconds", 0.05)),
            input_losses=np.repeat(l_det[:, None], 2, axis=1),
        )
        at = np.arange(0, count + 1, every)
        scores = {"train_clip_image": 0.8 - 0.4 * np.exp(-at / rate)}
        identity = RunIdentity({"concept": {"name": name}, "budget": budget, "seed": seed})
        quality = Quality(at, scores, np.ones(len(at)))
        facts = {"initial_losses": [1.1, 1.1]}
        return Recording(identity, facts, state, "", table, quality)

    return make
