"""Readers and writers of a recording at once, and writers that die at any moment."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from orchestrator.recordings import RecordingConflict
from tests.orchestrator.recordings.writing import begun, identity, row, rows


def test_two_writers_conflict(local, adapter):
    first = begun(local)
    first.steps(rows(1, 2))
    second = begun(local)
    with pytest.raises(RecordingConflict, match="another process is writing"):
        first.checkpoint(2, adapter)
    second.steps(rows(1, 2))


class Dying:
    """Files whose writer dies instead of doing its n-th write."""

    def __init__(self, files, left):
        self._files, self._left = files, left

    def __getattr__(self, name):
        return getattr(self._files, name)

    def write(self, name, data):
        if self._left == 0:
            raise SystemExit("killed")
        self._left -= 1
        self._files.write(name, data)


@pytest.mark.parametrize("state", ["running", "failed"])
@pytest.mark.parametrize("writes", range(8))
def test_a_death_while_a_recording_is_taken_up_again_spoils_nothing(local, adapter, state, writes):
    recorder = begun(local)
    recorder.steps(rows(1, 3))
    recorder.checkpoint(3, adapter)
    recorder.steps(rows(4, 5))
    if state == "failed":
        recorder.ended("failed", "NaN")
    again = local.recorder(identity())
    again._files = Dying(again._files, writes)
    try:
        again.started({"device": "another one"})
        again.resumed(3)
    except SystemExit:
        pass
    assert len(local.find(identity()).steps) in (3, 5)
    assert (local.recorder(identity()).checkpoint_folder() / "weights.bin").exists()


def test_a_reader_sees_a_growing_prefix_and_never_half(local):
    recorder = begun(local)
    lengths, errors, is_done = [], [], threading.Event()

    def read():
        while not is_done.is_set():
            try:
                series = local.find(identity()).steps.l_det
                assert series.tolist() == [row.l_det for row in rows(1, len(series))]
                lengths.append(len(series))
            except Exception as error:  # noqa: BLE001 - shown by the assertion below
                errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    # The slower the storage, the longer a recorder waits between two flushes: it goes on until several were seen.
    step, deadline = 0, time.monotonic() + 120
    while (step < 120 or len(set(lengths)) < 5) and not errors and time.monotonic() < deadline:
        step += 1
        recorder.steps([row(step)])
        time.sleep(0.002)
    is_done.set()
    reader.join()
    assert not errors
    assert lengths == sorted(lengths)
    assert len(set(lengths)) >= 5


WRITER = """
import sys
import time
from pathlib import Path

from tests.orchestrator.recordings.writing import identity, rows
from orchestrator.recordings import RecordingStore

store = RecordingStore(sys.argv[1], flush_seconds=0)
recorder = store.recorder(identity(budget=400))
recorder.started({})
folder = recorder.checkpoint_folder()
step = int((folder / "step").read_text()) if folder else 0
recorder.resumed(step)
work = Path(sys.argv[2])
print("ready", flush=True)
while step < 400:
    recorder.steps(rows(step + 1, step + 1))
    step += 1
    time.sleep(0.002)
    if step % 5 == 0:
        (work / "step").write_text(str(step))
        recorder.checkpoint(step, work)
recorder.ended("complete", "")
"""


@pytest.mark.process
def test_kills_at_random_moments_lose_nothing_and_spoil_nothing(local, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-c", WRITER, local.url, str(work)]
    rng, kills = random.Random(0), 0
    while local.state(identity(budget=400)) != "complete":
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        writer.stdout.readline()
        try:
            writer.wait(timeout=rng.uniform(0.02, 0.2) if kills < 8 else 60)
        except subprocess.TimeoutExpired:
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
            kills += 1
        recording = local.find(identity(budget=400))
        series = recording.steps.l_det.tolist()
        assert series == [row.l_det for row in rows(1, len(series))]
    assert kills >= 3
    assert len(series) == 400
