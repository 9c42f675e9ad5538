"""Whatever dies, and whenever it dies, every run ends as if undisturbed, and nothing is recorded twice."""

import os
import random
import signal
import sys
import time

import numpy as np
import optuna
import pytest

from orchestrator.recordings import RecordingStore
from orchestrator.storage.storage import Storage
from orchestrator.study.storage import FilesJournal
from trainables.miniature.entries import FEW

pytestmark = pytest.mark.process

CONCEPTS, BUDGET = FEW[:4], 240
CHECKPOINT_SECONDS = 1
#: Steps that are repeated after a death were first trained at most so many seconds before it: a checkpoint waits for
#: the end of a report (1 s) and of its interval (1 s), and the cores are busy.
REPEATED_SECONDS = 10
FLAGS = {
    "quality.every": 200,
    "quality.samples": 1,
    "quality.inference_steps": 2,
    "method.settings.batch_size": 20,
    "resources.checkpoint_seconds": CHECKPOINT_SECONDS,
    "resources.max_failures": 20,
}


class Command:
    """A command over a few concepts, which is restarted until it succeeds."""

    def __init__(self, nodes, storage, tiny_path, *arguments, **changes):
        self.nodes, self.storage = nodes, storage
        self.store = RecordingStore(str(storage / "live"))
        values = FLAGS | {"base_model.id": tiny_path, "quality.scorer": tiny_path / "clip"}
        values |= {key.replace("__", "."): value for key, value in changes.items()}
        settings = [flag for key, value in values.items() for flag in ("--set", f"{key}={value}")]
        self._command = [sys.executable, "-c", "from orchestrator.cli.app import main; main()", *arguments, *settings]
        self._command += ["--method", "counting_method:Counting", "--storage", str(storage)]
        self._command += ["--address", f"{nodes.head.address}:6379"]
        self.starts, self.process = 0, None
        for file in nodes.notes.iterdir():
            file.unlink()

    def start(self):
        self.starts += 1
        self.process = self.nodes.head.run(*self._command, cwd=self.storage.parent)

    def steps(self):
        """Return the number of recorded steps over all concepts."""
        return sum(row.steps for row in self.store.list()) if self.storage.exists() else 0

    def is_done(self):
        """Whether every run ended."""
        rows = self.store.list() if self.storage.exists() else []
        return len(rows) == len(CONCEPTS) and all(row.state == "stopped" for row in rows)

    def wait_for_steps(self, count):
        deadline = time.monotonic() + 900
        while self.steps() < count and self.process.poll() is None:
            assert time.monotonic() < deadline, f"{self.steps()} of {count} steps: {self.process.communicate()[0]}"
            time.sleep(0.05)

    def finish(self):
        """Wait until the command succeeds, and restart it whenever it fails."""
        while True:
            printed = self.process.communicate(timeout=1200)[0]
            if self.process.returncode == 0:
                return printed
            assert self.starts < 12, printed
            self.start()

    def results(self):
        """Return the state, the series and the exported weights of every concept."""
        results = {}
        for row in self.store.list():
            recording = self.store.read(row.key)
            adapter = self.store.snapshot_folder(row.key, len(recording.steps)) / "learned_embeds.safetensors"
            results[row.concept] = (
                recording.state,
                recording.steps.l_det,
                recording.steps.train_loss,
                adapter.read_bytes(),
            )
        return results

    def repeated(self):
        """Return how many steps were repeated, and how many seconds before a death the oldest was first trained.

        Steps that a node trains while it is cut off and another node continues in its place count, but have no age.
        """
        count, ages = 0, [0.0]
        for file in self.nodes.notes.iterdir():
            lives = {}
            for line in file.read_text().splitlines():
                process, step, moment = line.split()
                lives.setdefault(process, {})[int(step)] = float(moment)
            lives = sorted(lives.values(), key=lambda life: min(life.values()))
            for index, life in enumerate(lives):
                later = [other for other in lives[index + 1 :] if other.keys() & life.keys()]
                again = {step for other in later for step in other} & life.keys()
                count += len(again)
                end = max(life.values())
                if again and all(min(other.values()) > end for other in later):
                    ages.append(end - min(life[step] for step in again))
        return count, max(ages)


def run_flags():
    return ["run", "--budget", str(BUDGET), "--window", "70", "--threshold", "0.5", "--only", ",".join(CONCEPTS)]


@pytest.fixture(scope="module")
def undisturbed(nodes, tmp_path_factory, tiny_path):
    command = Command(nodes, tmp_path_factory.mktemp("undisturbed") / "store", tiny_path, *run_flags())
    command.start()
    command.finish()
    assert command.starts == 1
    assert command.repeated() == (0, 0.0)
    assert all(state == "stopped" for state, *_ in command.results().values())
    return command.results()


def kill_a_worker(command, rng, number=signal.SIGKILL):
    """Kill a process that trains, on any node."""
    deadline = time.monotonic() + 240
    while not (workers := [pid for node in command.nodes.nodes for pid in node.processes("ray::Personalization")]):
        if command.is_done():
            return
        assert time.monotonic() < deadline, "no worker ever started"
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
    time.sleep(rng.uniform(0.5, 2))
    node.reconnect()


def give_a_node_up(command, rng):
    """Cut a node off until the others take it for lost; what it trains meanwhile must not corrupt anything."""
    node = rng.choice(command.nodes.nodes[1:])
    node.cut_off()
    command.nodes.wait_for(2)
    time.sleep(rng.uniform(0, 4))
    node.reconnect()
    node.lose()
    node.start()


def kill_the_driver(command, rng):
    for pid in command.nodes.head.processes("from orchestrator.cli.app import main"):
        os.kill(pid, signal.SIGKILL)
    command.process.wait()
    command.start()


def lose_the_head(command, rng):
    """Lose the head and with it the cluster; start a new cluster on the same storage."""
    for node in command.nodes.nodes:
        node.lose()
    command.process.wait()
    command.nodes.start()
    command.start()


QUICK = (kill_a_worker, terminate_a_worker, lose_a_node, cut_a_node_off, kill_the_driver, lose_the_head)
ROUNDS = [pytest.param(0, id="0"), *(pytest.param(seed, id=str(seed), marks=pytest.mark.slow) for seed in (1, 2, 3))]


@pytest.mark.parametrize("seed", ROUNDS)
def test_every_run_ends_as_if_undisturbed(nodes, undisturbed, tmp_path, tiny_path, seed):
    rng = random.Random(seed)
    command = Command(nodes, tmp_path / "store", tiny_path, *run_flags())
    command.start()
    total = sum(len(series) for _, series, _, _ in undisturbed.values())
    events = [
        *rng.sample(QUICK, len(QUICK)),
        give_a_node_up,
    ]  # last, because it takes so long that little remains to be trained
    moments = sorted(rng.uniform(0.02, 0.9) * total for _ in events)
    struck = 0
    for event, moment in zip(events, moments, strict=True):
        command.wait_for_steps(moment)
        time.sleep(rng.uniform(0, 0.8))  # these steps were written just now; deaths should also fall between two writes
        if command.is_done():
            break
        if command.process.poll() is not None:
            command.start()
        print(f"{event.__name__} after {command.steps()} of {total} steps")
        event(command, rng)
        struck += 1
    assert struck >= len(events) // 2
    command.finish()
    results = command.results()
    assert results.keys() == undisturbed.keys() == set(CONCEPTS)
    for name, (state, l_det, train_loss, adapter) in results.items():
        expected = undisturbed[name]
        assert state == expected[0]
        assert np.array_equal(l_det, expected[1]), name
        assert np.array_equal(train_loss, expected[2]), name
        assert adapter == expected[3], name
    count, age = command.repeated()
    print(f"{count} steps repeated, the oldest {age:.1f} s before a death")
    assert age < REPEATED_SECONDS


def test_a_live_search_continues_when_its_driver_or_a_worker_dies(nodes, tmp_path, tiny_path):
    rng, trials = random.Random(5), 3
    flags = ["tune", "--live", "--trials", str(trials), "--budget", "80", "--only", ",".join(CONCEPTS[:3])]
    flags += ["--tuning", ",".join(CONCEPTS[:2]), "--criteria", "dvar", "--l-det", "paper"]
    command = Command(nodes, tmp_path / "store", tiny_path, *flags, quality__every=20)
    command.start()
    for event, moment in ((kill_the_driver, 30), (kill_a_worker, 70), (kill_the_driver, 100)):
        command.wait_for_steps(moment)
        if command.process.poll() is None:
            event(command, rng)
    printed = command.finish()
    assert f"{trials} settings on 2 tuning concepts" in printed
    assert "live and replayed stop at the same step: 2 of 2 concepts" in " ".join(printed.split())
    full = {row.concept: RecordingStore(str(tmp_path / "store" / "recordings")) for row in command.store.list()}
    full = {name: store.read(row.key) for name, store in full.items() for row in store.list() if row.concept == name}
    live = [command.store.read(row.key) for row in command.store.list()]
    # No setting and no run was forgotten: what was suggested before a death is what was evaluated in the end.
    (study,) = (tmp_path / "store" / "studies").iterdir()
    storage = optuna.storages.JournalStorage(FilesJournal(Storage(study)))
    optuna_study = optuna.load_study(study_name=study.name, storage=storage)
    complete = [trial for trial in optuna_study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    assert len(complete) == trials
    assert not any(trial.state == optuna.trial.TrialState.RUNNING for trial in optuna_study.trials)
    # A driver may also die while the sampler chooses: then some parameters of a setting are there, and no run.
    whole = [trial for trial in optuna_study.trials if trial.params.keys() == complete[0].params.keys()]
    suggested = {tuple(trial.params.items()) for trial in whole}
    assert suggested == {tuple(trial.params.items()) for trial in complete}
    assert 2 <= len(live) <= 2 * trials
    for run in live:
        assert run.state in ("stopped", "complete")
        assert np.array_equal(run.steps.l_det, full[run.concept].steps.l_det[: len(run.steps)])
