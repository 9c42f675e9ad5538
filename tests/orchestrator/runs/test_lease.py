"""The lease: one driver at a time, and none is kept off by a dead one for long."""

import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from orchestrator.recordings import RecordingConflict
from orchestrator.runs import lease
from orchestrator.storage.atomic import replacing
from orchestrator.storage.storage import Storage
from trainables.errors import InvalidInput

pytestmark = pytest.mark.process


def hold(url, ready, end):
    try:
        with lease.held(Storage(url), ["a", "b"]):
            ready.put("held")
            end.wait(300)
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


def later(file):
    """Return the file of a driver that took over the lease of the one whose file is given."""
    group, number, _ = file.name.split("-")
    return file.with_name(f"{group}-{int(number) + 1:015d}-00000000.json")


def test_a_second_driver_is_kept_off_and_told_why(holder, tmp_path):
    process, ready, end = holder()
    assert ready.get(timeout=120) == "held"
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
    answers = [ready.get(timeout=120) for _, ready, _ in [holder(), holder()]]
    assert sorted(answer == "held" for answer in answers) == [False, True]


def test_a_dead_one_of_this_machine_keeps_nobody_off(holder, tmp_path):
    process, ready, _ = holder()
    assert ready.get(timeout=120) == "held"
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
        (file,) = (tmp_path / "drivers").iterdir()
        assert json.loads(file.read_bytes())["pid"] == os.getpid()


def test_what_another_driver_has_taken_over_is_neither_overwritten_nor_removed(tmp_path, monkeypatch):
    """A driver that was silent for too long, and wakes up: the lease is no longer its own."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.4)
    with lease.held(Storage(str(tmp_path)), ["a"]) as held:
        (file,) = (tmp_path / "drivers").iterdir()
        held.check()
        content = json.loads(file.read_bytes()) | {"id": "x", "pid": 1}
        theirs = later(file)
        theirs.write_text(json.dumps(content))
        with pytest.raises(RecordingConflict, match="another driver has taken over"):
            held.check()
        deadline = time.monotonic() + 30
        while not held.is_lost and time.monotonic() < deadline:
            time.sleep(0.1)
        assert held.is_lost
        assert json.loads(theirs.read_bytes()) == content
    assert [path.name for path in (tmp_path / "drivers").iterdir()] == [theirs.name]
    assert json.loads(theirs.read_bytes()) == content


FREEZING = """
import os, signal, sys, threading, time
from orchestrator.recordings import RecordingConflict
from orchestrator.runs import lease
from orchestrator.storage.storage import Storage

lease.BEAT_SECONDS = 0.2
count, at, replace = 0, int(sys.argv[2]), os.replace
with lease.held(Storage(sys.argv[1]), ["a"]) as held:
    def stop(*arguments, **folders):
        global count
        count += 1
        if count == at:
            print("frozen", flush=True)
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # at once; one to the process may come later
        replace(*arguments, **folders)

    os.replace = stop
    deadline = time.monotonic() + 60
    while not held.is_lost and time.monotonic() < deadline:
        time.sleep(0.05)
print("lost" if held.is_lost else "kept", flush=True)
"""


@pytest.mark.parametrize("beat", [1, 2, 5])
def test_a_driver_that_is_frozen_within_a_heartbeat_and_replaced_learns_of_it(tmp_path, monkeypatch, beat):
    """It had asked whether the lease is its own, and was stopped right before it wrote."""
    monkeypatch.setattr(lease, "DEAD_SECONDS", 1.5)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.4)
    command = [sys.executable, "-c", FREEZING, str(tmp_path), str(beat)]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout.readline() == "frozen\n"
        with lease.held(Storage(str(tmp_path)), ["a"]) as held:
            driver.send_signal(signal.SIGCONT)
            assert driver.stdout.readline() == "lost\n"
            held.check()
            assert not held.is_lost
            time.sleep(1.0)  # some heartbeats of our own
            held.check()
        with lease.held(Storage(str(tmp_path)), ["a"]) as third:
            third.check()
    finally:
        driver.kill()
        driver.communicate()


@pytest.mark.parametrize(
    ("change", "is_beating", "is_alive"),
    [
        ({}, True, True),
        ({"machine": "elsewhere"}, True, True),
        ({"machine": "elsewhere"}, False, False),
        ({"pid": 2**22 + 1}, True, False),
    ],
    ids=["here", "elsewhere", "silent", "gone"],
)
def test_others_see_whether_a_driver_lives(tmp_path, monkeypatch, change, is_beating, is_alive):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(lease, "DEAD_SECONDS", 2.0)
    runs = [{"key": "a", "concept": "dog"}]
    with lease.held(Storage(str(tmp_path)), ["a"], folder="live", runs=runs):
        (file,) = (tmp_path / "drivers").iterdir()
        content, theirs = json.loads(file.read_bytes()), later(file)
        ended = threading.Event()

        def beat():
            for count in itertools.count(100):
                with replacing(theirs) as partial:
                    partial.write(json.dumps(content | {"id": "x", "beat": count} | change).encode())
                if ended.wait(0.2) or not is_beating:
                    return

        thread = threading.Thread(target=beat)
        thread.start()
        time.sleep(0.3)
        (driver,) = lease.drivers(Storage(str(tmp_path)))  # the one that it replaced is none any more
        ended.set()
        thread.join()
    assert (driver.is_alive, driver.folder, driver.runs) == (is_alive, "live", ({"key": "a", "concept": "dog"},))
    assert driver.works_on("live", "a") is is_alive
    assert not driver.works_on("live", "b")
    assert not driver.works_on("recordings", "a")


def test_a_frozen_driver_of_this_machine_counts_as_dead(holder, tmp_path, monkeypatch):
    process, ready, _ = holder()
    assert ready.get(timeout=120) == "held"
    os.kill(process.pid, signal.SIGSTOP)
    try:
        monkeypatch.setattr(lease, "DEAD_SECONDS", 1.0)
        time.sleep(1.2)
        assert [driver.is_alive for driver in lease.drivers(Storage(str(tmp_path)))] == [False]
    finally:
        os.kill(process.pid, signal.SIGCONT)
    monkeypatch.undo()
    assert [driver.is_alive for driver in lease.drivers(Storage(str(tmp_path)))] == [True]


HOLDER = {"id": "a", "pid": 1, "host": "h", "machine": "m"}


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", '{"id": 1}', "\x00", "[" * 100_000),
        *(
            json.dumps(HOLDER | change)
            for change in (
                *({"pid": "x"}, {"pid": 10**30}, {"pid": True}, {"machine": []}),
                *({"runs": 5}, {"runs": [1]}, {"runs": [{"seed": "x"}]}, {"runs": [{"concept": {}}]}),
            )
        ),
    ],
)
def test_a_spoiled_lease_is_no_driver(tmp_path, content):
    (tmp_path / "drivers").mkdir()
    (tmp_path / "drivers" / f"{'0' * 16}-{1:015d}-{'0' * 8}.json").write_text(content)
    assert lease.drivers(Storage(str(tmp_path))) == []
