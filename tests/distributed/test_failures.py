"""Whatever dies, and whenever: every run ends as if nothing had happened, and nothing is recorded twice."""

import os
import random
import signal
import sys
import time

import numpy as np
import pytest

from orchestrator.store import RecordingStore
from trainables.miniature.concepts import FEW

CONCEPTS, BUDGET = FEW[:4], 240
CHECKPOINT_SECONDS = 1
FLAGS = {
    "quality.every": 200,
    "quality.samples": 1,
    "quality.inference_steps": 2,
    "method.settings.batch_size": 8,
    "resources.checkpoint_seconds": CHECKPOINT_SECONDS,
    "resources.max_failures": 20,
}


class Command:
    """`dvar run` over some concepts, which is started again until it is done."""

    def __init__(self, nodes, storage, tiny_path):
        self.nodes, self.storage = nodes, storage
        self.store = RecordingStore(str(storage / "live"))
        values = FLAGS | {"base_model.id": tiny_path, "quality.scorer": tiny_path / "clip"}
        settings = [flag for key, value in values.items() for flag in ("--set", f"{key}={value}")]
        self._command = [sys.executable, "-c", "from orchestrator.cli import main; main()", "run"]
        self._command += ["--budget", str(BUDGET), "--window", "70", "--threshold", "0.5", *settings]
        self._command += [
            "--only",
            ",".join(CONCEPTS),
            "--storage",
            str(storage),
            "--address",
            f"{nodes.head.address}:6379",
        ]
        self.starts, self.process = 0, None

    def start(self):
        self.starts += 1
        self.process = self.nodes.head.run(*self._command, cwd=self.storage.parent)

    def steps(self):
        """Steps that are recorded of all concepts."""
        return sum(row.steps for row in self.store.list()) if self.storage.exists() else 0

    def wait_for_steps(self, count):
        deadline = time.monotonic() + 240
        while self.steps() < count and self.process.poll() is None:
            assert time.monotonic() < deadline, f"{self.steps()} of {count} steps: {self.process.communicate()[0]}"
            time.sleep(0.05)

    def finish(self):
        """Wait until it ends; where it did not do all, start it again."""
        while True:
            printed = self.process.communicate(timeout=400)[0]
            if self.process.returncode == 0:
                return printed
            assert self.starts < 12, printed
            self.start()

    def results(self):
        """Series, stop and exported weights of every concept."""
        found = {}
        for row in self.store.list():
            one = self.store.read(row.key)
            adapter = self.store.snapshot_folder(row.key, len(one.steps)) / "learned_embeds.safetensors"
            found[row.concept] = (one.state, one.steps.l_det, one.steps.train_loss, adapter.read_bytes())
        return found


@pytest.fixture(scope="module")
def undisturbed(nodes, tmp_path_factory, tiny_path):
    command = Command(nodes, tmp_path_factory.mktemp("undisturbed") / "store", tiny_path)
    command.start()
    command.finish()
    assert command.starts == 1
    assert all(state == "stopped" for state, *_ in command.results().values())
    return command.results()


def kill_a_worker(command, rng, number=signal.SIGKILL):
    """End a process that trains, wherever one is."""
    deadline = time.monotonic() + 60
    while not (workers := [pid for node in command.nodes.nodes for pid in node.processes("ray::Personalization")]):
        assert time.monotonic() < deadline, "no worker ever came"
        time.sleep(0.1)
    os.kill(rng.choice(workers), number)


def terminate_a_worker(command, rng):
    kill_a_worker(command, rng, signal.SIGTERM)


def lose_a_node(command, rng):
    node = rng.choice(command.nodes.nodes[1:])
    node.lose()
    time.sleep(2)
    node.start()


def cut_a_node_off(command, rng):
    node = rng.choice(command.nodes.nodes[1:])
    node.cut_off()
    time.sleep(rng.uniform(1, 6))
    node.reconnect()


def kill_the_driver(command, rng):
    for pid in command.nodes.head.processes("from orchestrator.cli import main"):
        os.kill(pid, signal.SIGKILL)
    command.process.wait()
    command.start()


def lose_the_head(command, rng):
    """With it goes the cluster; a new one is started on the same storage."""
    for node in command.nodes.nodes:
        node.lose()
    command.process.wait()
    command.nodes.start()
    command.start()


EVENTS = (kill_a_worker, terminate_a_worker, lose_a_node, cut_a_node_off, kill_the_driver, lose_the_head)
ROUNDS = [pytest.param(0, id="0"), *(pytest.param(seed, id=str(seed), marks=pytest.mark.slow) for seed in (1, 2, 3))]


@pytest.mark.parametrize("seed", ROUNDS)
def test_every_run_ends_as_if_nothing_had_happened(nodes, undisturbed, tmp_path, tiny_path, seed):
    rng = random.Random(seed)
    command = Command(nodes, tmp_path / "store", tiny_path)
    command.start()
    total = sum(len(series) for _, series, _, _ in undisturbed.values())
    events = rng.sample(EVENTS, len(EVENTS))
    moments = sorted(rng.uniform(0.02, 0.9) * total for _ in events)
    for event, moment in zip(events, moments, strict=True):
        command.wait_for_steps(moment)
        if command.process.poll() is not None:
            command.start()
        event(command, rng)
        print(f"{event.__name__} after {moment:.0f} of {total} steps")
    command.finish()
    found = command.results()
    assert found.keys() == undisturbed.keys() == set(CONCEPTS)
    for name, (state, l_det, train_loss, adapter) in found.items():
        expected = undisturbed[name]
        assert state == expected[0]
        assert np.array_equal(l_det, expected[1]), name
        assert np.array_equal(train_loss, expected[2]), name
        assert adapter == expected[3], name
