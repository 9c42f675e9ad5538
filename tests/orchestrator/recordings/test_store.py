"""The store of recordings: round trips, interruption, damage, concurrent readers, and kills at any moment."""

import dataclasses
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from orchestrator.recordings import RecordingConflict, RecordingStore
from orchestrator.recordings.identity import RunIdentity, json_hash
from orchestrator.storage.files import LocalFiles
from orchestrator.storage.retry import StorageFailure
from trainables.errors import InvalidInput
from trainables.training.sinks import StepRow


def identity(name="dog", budget=30, **more):
    return RunIdentity({"concept": {"name": name}, "budget": budget, "seed": 0, **more})


def row(step):
    losses = tuple(np.random.default_rng(step).random(3))
    return StepRow(step, float(np.mean(losses)), 1.0 / step, 0.1 * step, 0.01, 0.005, losses)


def rows(first, last):
    return [row(step) for step in range(first, last + 1)]


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    url = str(tmp_path / "store") if request.param == "local" else f"memory://{tmp_path.name}/store"
    return RecordingStore(url, flush_seconds=0)


@pytest.fixture
def local(tmp_path):
    return RecordingStore(str(tmp_path / "store"), flush_seconds=0)


@pytest.fixture
def adapter(tmp_path):
    folder = tmp_path / "adapter"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"abc")
    (folder / "deep" / "more.txt").write_text("x")
    return folder


def begun(store, **options):
    recorder = store.recorder(identity(**options))
    recorder.started({"device": "CPU"})
    recorder.resumed(0)
    return recorder


def complete(store, adapter, steps=6, **options):
    recorder = begun(store, **options)
    recorder.snapshot(0, {"train_clip_image": 0.5}, {"train": 0.75, "val": 0.25}, adapter)
    recorder.steps(rows(1, steps))
    recorder.checkpoint(steps, adapter)
    recorder.snapshot(steps, {"train_clip_image": 0.75}, {"train": 1.5, "val": 0.5}, adapter)
    recorder.ended("complete", "done")
    return recorder


def test_what_is_written_is_read_back_bit_for_bit(store, adapter):
    complete(store, adapter)
    recording = store.find(identity())
    expected = rows(1, 6)
    assert recording.state == "complete"
    assert recording.facts == {"device": "CPU"}
    assert recording.identity == identity()
    for name in ("l_det", "train_loss", "grad_norm", "seconds", "l_det_seconds"):
        assert getattr(recording.steps, name).tolist() == [getattr(expected_row, name) for expected_row in expected]
    assert recording.steps.input_losses.tolist() == [list(expected_row.input_losses) for expected_row in expected]
    assert recording.quality.steps.tolist() == [0, 6]
    assert recording.quality.scores["train_clip_image"].tolist() == [0.5, 0.75]
    assert recording.quality.seconds.tolist() == [1.0, 2.0]
    assert {name: values.tolist() for name, values in recording.quality.samples_seconds.items()} == {
        "train": [0.75, 1.5], "val": [0.25, 0.5],
    }  # fmt: skip
    assert (store.snapshot_folder(recording.key, 6) / "deep" / "more.txt").read_text() == "x"


def test_nothing_is_there_before_it_is_begun(store):
    store.recorder(identity())
    assert store.find(identity()) is None
    assert store.state(identity()) is None
    assert store.list() == []


def test_listing_and_reading_by_key(store, adapter):
    complete(store, adapter)
    begun(store, name="cat").steps(rows(1, 2))
    summaries = {summary.concept: summary for summary in store.list()}
    assert (summaries["dog"].state, summaries["dog"].steps, summaries["dog"].budget) == ("complete", 6, 30)
    assert (summaries["cat"].state, summaries["cat"].steps) == ("running", 2)
    assert store.read(summaries["dog"].key).concept == "dog"
    with pytest.raises(InvalidInput, match="there is no recording 'abc'"):
        store.read("abc")


def test_a_complete_recording_is_never_begun_again(store, adapter):
    complete(store, adapter)
    with pytest.raises(InvalidInput, match="complete already and is never recorded twice"):
        begun(store)


def test_an_interrupted_recording_goes_on_from_its_checkpoint(store, adapter):
    first = begun(store)
    first.steps(rows(1, 4))
    first.checkpoint(4, adapter)
    first.steps(rows(5, 7))
    second = store.recorder(identity())
    second.started({})
    assert (second.checkpoint_folder() / "weights.bin").read_bytes() == b"abc"
    second.resumed(4)
    assert len(store.find(identity()).steps) == 4
    second.steps(rows(5, 9))
    second.ended("complete", "")
    assert store.find(identity()).steps.l_det.tolist() == [row.l_det for row in rows(1, 9)]


def test_a_checkpoint_that_cannot_be_removed_does_not_spoil_a_complete_recording(local, adapter, monkeypatch):
    recorder = begun(local)
    recorder.steps(rows(1, 3))
    recorder.checkpoint(3, adapter)

    def fail(self, name):
        raise StorageFailure("no")

    monkeypatch.setattr(LocalFiles, "remove", fail)
    recorder.ended("complete", "done")
    assert local.find(identity()).state == "complete"


def test_going_back_drops_later_snapshots_and_a_later_checkpoint(store, adapter):
    recorder = begun(store)
    recorder.steps(rows(1, 4))
    recorder.snapshot(4, {"a": 1.0}, {"train": 1.0}, adapter)
    recorder.checkpoint(4, adapter)
    recorder.resumed(2)
    assert recorder.checkpoint_folder() is None
    recording = store.find(identity())
    assert len(recording.steps) == 2
    assert len(recording.quality.steps) == 0


def test_one_that_ended_before_its_first_checkpoint_takes_its_first_snapshot_again(store, adapter):
    begun(store).snapshot(0, {"a": 1.0}, {"train": 1.0}, adapter)
    again = begun(store)
    again.snapshot(0, {"a": 2.0}, {"train": 1.0}, adapter)
    again.steps(rows(1, 2))
    again.snapshot(2, {"a": 3.0}, {"train": 1.0}, adapter)
    quality = store.find(identity()).quality
    assert quality.steps.tolist() == [0, 2]
    assert quality.scores["a"].tolist() == [2.0, 3.0]


def test_a_failed_recording_keeps_its_rows_and_can_be_tried_again(store, adapter):
    recorder = begun(store)
    recorder.steps(rows(1, 3))
    recorder.ended("failed", "NaN at step 4")
    recording = store.find(identity())
    assert (recording.state, recording.reason, len(recording.steps)) == ("failed", "NaN at step 4", 3)
    again = begun(store)
    again.steps(rows(1, 3))
    assert store.state(identity()) == "running"


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


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([3], "step 3 does not follow the last recorded step 1"),
        ([1], "step 1 does not follow"),
        ([2, 4], "step 4 does not follow the last recorded step 2"),
    ],
)
def test_gaps_and_repeats_are_errors(local, bad, message):
    recorder = begun(local)
    recorder.steps([row(1)])
    with pytest.raises(ValueError, match=message):
        recorder.steps([row(step) for step in bad])


def test_a_row_without_l_det_is_kept_as_nan(local):
    recorder = begun(local)
    (row,) = rows(1, 1)
    nothing = (float("nan"),) * len(row.input_losses)
    recorder.steps([dataclasses.replace(row, l_det=None, input_losses=nothing)])
    recorder.ended("stopped", "")
    steps = local.find(identity()).steps
    assert np.isnan(steps.l_det).all()
    assert np.isnan(steps.input_losses).all()
    assert steps.train_loss.tolist() == [row.train_loss]


def test_a_checkpoint_ahead_of_the_rows_is_refused(local, adapter):
    recorder = begun(local)
    recorder.steps(rows(1, 3))
    with pytest.raises(ValueError, match="checkpoint of step 5 came after 3"):
        recorder.checkpoint(5, adapter)
    with pytest.raises(InvalidInput, match=r"continues after step 4, but .* holds 3 steps"):
        recorder.resumed(4)


@pytest.mark.parametrize("file", ["manifest.json", "facts.json", "status.json", "steps.parquet", "quality.parquet"])
@pytest.mark.parametrize("damage", ["half", "empty", "missing", "flipped"])
def test_a_damaged_file_is_named_with_the_remedy(local, adapter, file, damage):
    complete(local, adapter)
    path = Path(local.folder(identity())) / file
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"half": data[: len(data) // 2], "empty": b"", "flipped": bytes(flipped)}[damage])
    with pytest.raises(InvalidInput, match=rf"{file} is damaged: .*; delete the folder .* and record again"):
        local.find(identity())


def test_a_recording_under_another_ones_name_is_refused(local, adapter):
    complete(local, adapter)
    folder = Path(local.folder(identity()))
    folder.rename(Path(local.folder(identity(name="cat"))))
    assert local.find(identity()) is None
    with pytest.raises(InvalidInput, match=r"manifest\.json"):
        _ = local.find(identity(name="cat")) or pytest.fail("read a foreign recording")


@pytest.mark.parametrize("name", ["../../evil", "/etc/x", "a/b", "..", "", "Ünï cødé", "x" * 300, "a\nb", "-rf"])
def test_no_name_leads_outside(tmp_path, adapter, name):
    store = RecordingStore(str(tmp_path / "inner" / "store"), flush_seconds=0)
    complete(store, adapter, name=name)
    folder = Path(store.folder(identity(name=name)))
    assert folder.resolve().parent == (tmp_path / "inner" / "store").resolve()
    assert {path.name for path in tmp_path.iterdir()} == {"inner", "adapter"}
    assert store.find(identity(name=name)).concept == name


def test_two_writers_conflict(local, adapter):
    first = begun(local)
    first.steps(rows(1, 2))
    second = begun(local)
    with pytest.raises(RecordingConflict, match="another process is writing"):
        first.checkpoint(2, adapter)
    second.steps(rows(1, 2))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("{file}/below", "cannot be written"),
        ("/proc/nowhere", "cannot be written"),
        ("nonsense://x", "cannot open 'nonsense://x'"),
    ],
)
def test_a_storage_that_cannot_be_written(tmp_path, url, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match=message):
        RecordingStore(url.format(file=tmp_path / "file")).check_writable()


def test_the_probe_leaves_nothing(local, tmp_path):
    local.check_writable()
    assert list((tmp_path / "store").iterdir()) == []


def test_store_and_recorder_travel(local, adapter):
    travelled = pickle.loads(pickle.dumps(local))  # noqa: S301 - our own object
    complete(travelled, adapter)
    assert local.state(identity()) == "complete"


def test_equal_identities_have_one_key_whatever_their_order():
    assert json_hash({"a": 1, "b": [1, 2]}) == json_hash({"b": [1, 2], "a": 1})
    assert json_hash({"a": 1}) != json_hash({"a": 2})


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
    for step in range(1, 120):
        recorder.steps([row(step)])
        time.sleep(0.002)
        if step % 20 == 0:  # on busy cores the reader must have its turns
            seen, deadline = len(lengths), time.monotonic() + 10
            while len(lengths) < seen + 2 and not errors and time.monotonic() < deadline:
                time.sleep(0.002)
    is_done.set()
    reader.join()
    assert not errors
    assert lengths == sorted(lengths)
    assert len(set(lengths)) >= 3


WRITER = """
import sys
import time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store import identity, rows
from orchestrator.recordings import RecordingStore

store = RecordingStore(sys.argv[2], flush_seconds=0)
recorder = store.recorder(identity(budget=400))
recorder.started({})
folder = recorder.checkpoint_folder()
step = int((folder / "step").read_text()) if folder else 0
recorder.resumed(step)
work = Path(sys.argv[3])
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
    command = [sys.executable, "-c", WRITER, str(Path(__file__).parent), local.url, str(work)]
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
