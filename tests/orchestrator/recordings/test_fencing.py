"""A writer that is frozen at any moment, replaced, and woken up spoils nothing of what its successor writes."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.recordings import reading
from orchestrator.recordings.ownership import RecordingConflict
from orchestrator.storage.atomic import replacing
from tests.orchestrator.recordings.writing import begun, identity, rows

pytestmark = pytest.mark.process

# Each writer is a process that stops itself (SIGSTOP) right before the n-th time that it lists or changes a folder,
# whatever it had asked before. One program forks them all: it imports once.
PROGRAM = """
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from orchestrator.recordings import RecordingStore
from orchestrator.recordings.verification import verify
from orchestrator.storage.storage import Storage
from tests.orchestrator.recordings.writing import identity, rows

BUDGET, END = 12, 12
place, before, successors = Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")
at, stride = int(sys.argv[4]), int(sys.argv[5])


def write(store, name, until=END, freeze_at=None):
    if freeze_at:
        freeze(freeze_at)
    folder = place / f"files-{name}"
    folder.mkdir(exist_ok=True)
    recorder = store.recorder(identity(budget=BUDGET))
    recorder.started({"device": name})
    saved = recorder.checkpoint_folder()
    step = int((saved / "step").read_text()) if saved else 0
    recorder.resumed(step)
    if until == step:
        return
    for step in range(step + 1, until + 1):
        recorder.steps(rows(step, step))
        (folder / "step").write_text(str(step))
        (folder / "adapter").write_text(f"{name} {step}")
        if step % 4 == 0:
            recorder.snapshot(step, {"a": float(step)}, {"train": 1.0}, folder)
        if step % 3 == 0 and step < END:
            recorder.checkpoint(step, folder)
    if until == END:
        recorder.ended("complete", "done")


def freeze(at):
    count = 0

    def stopping(function):
        def stopped(*arguments, **options):
            nonlocal count
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGSTOP)
            return function(*arguments, **options)

        return stopped

    for name in ("replace", "link", "unlink", "rmdir", "listdir"):
        setattr(os, name, stopping(getattr(os, name)))


def child(store, at):
    pid = os.fork()
    if pid == 0:
        try:
            write(store, "A", freeze_at=at)
        except BaseException as error:
            os.write(2, f"A: {type(error).__name__}\\n".encode())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, os.WUNTRACED)
    return pid, os.WIFSTOPPED(status)


def outcome(store):
    recording = store.find(identity(budget=BUDGET))
    problems = [verdict.problem for verdict in verify(Storage(store.url)) if verdict.problem]
    snapshots = [
        sorted(path.name for path in store.snapshot_folder(recording.key, step).iterdir())
        for step in recording.quality.steps.tolist()
    ]
    left = [path.name for path in Path(store.folder(identity(budget=BUDGET))).glob("checkpoint/*")]
    return {
        "state": recording.state, "l_det": recording.steps.l_det.tolist(), "quality": recording.quality.steps.tolist(),
        "problems": problems, "snapshots": snapshots, "checkpoints": left, "device": recording.facts["device"],
    }


os.fsync = lambda descriptor: None  # no power is cut here, and a disk that others use takes its time
outcomes = []
while True:
    store = RecordingStore(str(place / f"store-{at}"), flush_seconds=0)
    if before == "taken over":
        write(store, "0", until=7)
    pid, is_frozen = child(store, at)
    if not is_frozen:
        break
    for number, until in enumerate(successors):
        try:
            write(store, f"B{number}", until=int(until))
        except Exception as error:
            if store.state(identity(budget=BUDGET)) != "complete":  # A had finished already
                raise
        if number == len(successors) - 2:  # between the two successors, or before the only one, A wakes up
            os.kill(pid, signal.SIGCONT)
            os.waitpid(pid, 0)
            pid = 0
    if pid:
        os.kill(pid, signal.SIGCONT)
        os.waitpid(pid, 0)
    outcomes.append(outcome(store))
    shutil.rmtree(store.url)
    at += stride
print(json.dumps(outcomes))
"""


SUCCESSORS = ["12", "7,12", "0,12"]


@pytest.mark.parametrize(("successors", "first"), [("12", 1), ("7,12", 4), ("0,12", 9)])
@pytest.mark.parametrize("before", ["begun anew", "taken over"])
def test_a_writer_that_is_frozen_replaced_and_woken_spoils_nothing(tmp_path, before, successors, first):
    """Its successor finishes while it is frozen, or dies with or without a checkpoint and is itself replaced."""
    check_moments(tmp_path, before, successors, first, 12)


@pytest.mark.slow
@pytest.mark.parametrize("successors", SUCCESSORS)
@pytest.mark.parametrize("before", ["begun anew", "taken over"])
def test_no_moment_at_all_spoils_anything(tmp_path, before, successors):
    assert check_moments(tmp_path, before, successors, 1, 1) > 80


def check_moments(tmp_path, before, successors, first, stride):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), before, successors, str(first), str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=os.environ)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert len(outcomes) > 5
    for number, outcome in enumerate(outcomes):
        assert outcome["problems"] == [], number
        assert outcome["state"] == "complete", number
        assert outcome["l_det"] == [row.l_det for row in rows(1, 12)], number
        assert outcome["quality"] == [4, 8, 12], number
        assert outcome["snapshots"] == [["adapter", "step"]] * 3, number
        assert outcome["checkpoints"] == [], number
    return len(outcomes)


def test_of_two_that_claim_at_once_one_becomes_the_writer(store):
    first = store.recorder(identity())
    second = store.recorder(identity(), lambda: first.started({"device": "first"}))
    with pytest.raises(RecordingConflict, match="another process is writing"):
        second.started({"device": "second"})
    first.resumed(0)
    first.steps(rows(1, 2))
    assert store.find(identity()).facts == {"device": "first"}


def test_a_writer_that_wakes_up_removes_no_file_that_its_successor_is_writing(local, monkeypatch):
    late, walk = local.recorder(identity()), os.fwalk
    with ExitStack() as stack:

        def begin_meanwhile(*arguments, **options):
            monkeypatch.setattr(os, "fwalk", walk)
            begun(local).steps(rows(1, 2))
            stack.enter_context(replacing(Path(local.folder(identity())) / "steps-2.parquet")).write(b"whole")
            return walk(*arguments, **options)

        monkeypatch.setattr(os, "fwalk", begin_meanwhile)
        with pytest.raises(RecordingConflict, match="another process is writing"):
            late.started({"device": "late"})
    assert (Path(local.folder(identity())) / "steps-2.parquet").read_bytes() == b"whole"


def test_a_listing_while_another_writer_takes_over(local, monkeypatch):
    begun(local).steps(rows(1, 2))
    read_identity = reading.read_identity

    def take_over_meanwhile(files):
        monkeypatch.setattr(reading, "read_identity", read_identity)
        local.recorder(identity()).started({"device": "another"})
        return read_identity(files)

    monkeypatch.setattr(reading, "read_identity", take_over_meanwhile)
    scan = local.scan()
    assert scan.damaged == []
    assert [row.state for row in scan.summaries] == ["running"]


def test_what_a_killed_writer_left_is_removed_by_the_next(local):
    begun(local).steps(rows(1, 2))
    folder = Path(local.folder(identity()))
    (folder / f".{'a' * 32}.dvar-partial").write_bytes(b"half")
    begun(local)
    assert not list(folder.glob("*.dvar-partial"))
    assert not list(folder.glob(".*"))


def test_a_writer_that_is_not_permitted_changes_nothing(store, adapter):
    recorder = begun(store)
    recorder.steps(rows(1, 3))

    def refuse():
        raise RecordingConflict("the lease is lost")

    late = store.recorder(identity(), refuse)
    with pytest.raises(RecordingConflict, match="the lease is lost"):
        late.started({})
    recorder.checkpoint(3, adapter)
    assert len(store.find(identity()).steps) == 3


def test_a_recording_of_an_older_version_is_taken_over_and_stays_readable(store, adapter):
    """It has neither claims, nor hashes of checkpoints and snapshots, nor hashes of the records themselves."""
    recorder = begun(store)
    recorder.steps(rows(1, 4))
    recorder.snapshot(4, {"a": 1.0}, {"train": 1.0}, adapter)
    recorder.checkpoint(4, adapter)
    files = recorder._files
    status = json.loads(files.read("status.json"))
    files.write("status.json", json.dumps({k: v for k, v in status.items() if k not in ("number", "seal")}).encode())
    point = json.loads(files.read("checkpoint.json"))
    sizes = {name: about["size"] for name, about in point["files"].items()}
    files.write("checkpoint.json", json.dumps({"step": 4, "folder": point["folder"], "files": sizes}).encode())
    files.remove("writers")
    assert len(store.find(identity()).steps) == 4
    again = begun_again(store)
    again.steps(rows(5, 6))
    again.ended("complete", "done")
    recording = store.find(identity())
    assert recording.steps.l_det.tolist() == [row.l_det for row in rows(1, 6)]
    assert (store.snapshot_folder(recording.key, 4) / "weights.bin").read_bytes() == b"abc"


def begun_again(store):
    recorder = store.recorder(identity())
    recorder.started({"device": "another"})
    assert (recorder.checkpoint_folder() / "weights.bin").read_bytes() == b"abc"
    recorder.resumed(4)
    return recorder
