"""A driver and its worker that are frozen, replaced by a second driver, and woken up: real ones, each with Ray."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.recordings.collection import open_store
from orchestrator.recordings.verification import verify
from orchestrator.storage.storage import Storage

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def command(small_flags, monkeypatch):
    """Make the command that records a toy into a storage, and goes on by itself after failures."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    flags = small_flags(resources__checkpoint_seconds=1, resources__max_failures=5)
    start = [sys.executable, "-c", "from orchestrator.cli.app import main; main()"]
    return lambda storage: [*start, "record", "--only", "mug_1", "--budget", "300", *flags, "--storage", str(storage)]


def steps(storage, least):
    """Wait until so many steps are stored, or the recording has ended."""
    store, deadline = open_store(str(storage)), time.monotonic() + 200
    while time.monotonic() < deadline:
        if any(row.steps >= least or row.state != "running" for row in store.list()):
            return
        time.sleep(0.1)
    pytest.fail(f"no {least} steps after 200 s")


def driver_and_workers(pid):
    """Return the driver's process and Ray's workers below it, which do the training."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    below = [pid]
    for process in below:
        below += [child for child, parent in parents.items() if parent == process]
    return [pid, *(child for child in below if (Path("/proc") / str(child) / "cmdline").read_bytes()[:5] == b"ray::")]


@pytest.mark.parametrize("second_has", ["finished", "begun"])
def test_a_driver_that_is_frozen_replaced_and_woken(command, tmp_path, second_has):
    subprocess.run(command(tmp_path / "undisturbed"), check=True, capture_output=True)
    storage = tmp_path / "storage"
    with (tmp_path / "log").open("wb") as log:
        first = subprocess.Popen(command(storage), stdout=log, stderr=subprocess.STDOUT)
    steps(storage, 20)
    frozen = driver_and_workers(first.pid)
    assert len(frozen) > 1
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    second = subprocess.Popen(command(storage), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if second_has == "begun":
        claims = storage / "recordings"
        while not [*claims.glob("*/status-2.json")] and second.poll() is None:
            time.sleep(0.05)
    else:
        second.wait(200)
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    printed = second.communicate(timeout=200)[0]
    assert second.returncode == 0, printed
    code = first.wait(200)
    text = (tmp_path / "log").read_text()
    assert code == (2 if second_has == "begun" else 0), text
    assert ("another driver has taken over" in text) == (second_has == "begun")
    recordings = [
        store.read(store.list()[0].key) for store in map(open_store, (f"{tmp_path}/undisturbed", str(storage)))
    ]
    assert [recording.state for recording in recordings] == ["complete"] * 2
    assert recordings[0].steps.l_det.tolist() == recordings[1].steps.l_det.tolist()
    assert recordings[0].quality.scores["train_clip_image"].tolist() == (
        recordings[1].quality.scores["train_clip_image"].tolist()
    )
    assert [verdict.problem for verdict in verify(Storage(f"{storage}/recordings"))] == [None]
