"""The lease: one driver at a time, and none is kept off by a dead one for long."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from orchestrator.runs import lease
from orchestrator.storage.storage import Storage
from trainables.errors import InvalidInput

pytestmark = pytest.mark.process


def hold(url, ready, end):
    try:
        with lease.held(Storage(url), ["a", "b"]):
            ready.put("held")
            end.wait(60)
    except InvalidInput as error:
        ready.put(str(error))


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds the lease, or tries to."""
    context = multiprocessing.get_context("spawn")
    started = []

    def start(url=str(tmp_path)):
        ready, end = context.Queue(), context.Event()
        process = context.Process(target=hold, args=(url, ready, end))
        process.start()
        started.append((process, end))
        return process, ready, end

    yield start
    for process, end in started:
        if process.is_alive():  # one that was killed never answers
            end.set()
        process.join()


def test_a_second_driver_is_kept_off_and_told_why(holder, tmp_path):
    process, ready, end = holder()
    assert ready.get(timeout=30) == "held"
    begun = time.monotonic()
    with pytest.raises(InvalidInput, match=f"another driver works on these recordings in .*: process {process.pid} on"):
        lease.held(Storage(str(tmp_path)), ["b", "a"]).__enter__()
    assert time.monotonic() - begun < lease.DEAD_SECONDS
    with lease.held(Storage(str(tmp_path)), ["a", "c"]):  # other recordings are another matter
        pass
    end.set()
    process.join()
    with lease.held(Storage(str(tmp_path)), ["a", "b"]):
        assert len(list((tmp_path / "drivers").iterdir())) == 1
    assert not list((tmp_path / "drivers").iterdir())


def test_of_two_that_begin_at_once_one_works(holder):
    answers = [ready.get(timeout=40) for _, ready, _ in [holder(), holder()]]
    assert sorted(answer == "held" for answer in answers) == [False, True]


def test_a_dead_one_of_this_machine_keeps_nobody_off(holder, tmp_path):
    process, ready, _ = holder()
    assert ready.get(timeout=30) == "held"
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    begun = time.monotonic()
    with lease.held(Storage(str(tmp_path)), ["a", "b"]):
        assert time.monotonic() - begun < 5


def test_a_silent_one_of_another_machine_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "DEAD_SECONDS", 1.5)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.4)
    with lease.held(Storage(str(tmp_path)), ["a"]):
        (file,) = (tmp_path / "drivers").iterdir()
        content = json.loads(file.read_bytes()) | {"id": "x", "machine": "elsewhere", "host": "elsewhere"}
    file.write_text(json.dumps(content))
    begun = time.monotonic()
    with lease.held(Storage(str(tmp_path)), ["a"]):
        assert 1.5 <= time.monotonic() - begun < 10
    assert not file.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_spoiled_lease_is_none(tmp_path, content):
    with lease.held(Storage(str(tmp_path)), ["a"]):
        (file,) = (tmp_path / "drivers").iterdir()
    file.write_text(content)
    with lease.held(Storage(str(tmp_path)), ["a"]):
        assert json.loads(file.read_bytes())["pid"] == os.getpid()


def test_what_another_driver_has_taken_over_is_neither_overwritten_nor_removed(tmp_path, monkeypatch):
    """A driver that was silent for too long, and wakes up: the lease is no longer its own."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.4)
    with lease.held(Storage(str(tmp_path)), ["a"]):
        (file,) = (tmp_path / "drivers").iterdir()
        theirs = json.loads(file.read_bytes()) | {"id": "x", "pid": 1}
        file.write_text(json.dumps(theirs))
        time.sleep(1.2)  # three heartbeats
        assert json.loads(file.read_bytes()) == theirs
    assert json.loads(file.read_bytes()) == theirs
