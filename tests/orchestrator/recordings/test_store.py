"""The store of recordings: round trips, interruption, damage, and what cannot be written."""

import dataclasses
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.recordings import RecordingStore
from orchestrator.recordings.collection import read_place
from orchestrator.recordings.identity import json_hash
from orchestrator.storage.local import LocalFiles
from orchestrator.storage.retry import StorageFailure
from tests.orchestrator.recordings.writing import begun, complete, identity, row, rows
from trainables.errors import InvalidInput


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


@pytest.mark.parametrize(
    "copies",
    [["{} (1)"], ["Copy of {}"], ["{} - Copy", "{} - Copy (2)"], ["{}.bak"], ["{} 2", "{} copy", "Kopie von {}"]],
)
def test_copies_of_a_recording_count_once(tmp_path, adapter, copies):
    store = RecordingStore(str(tmp_path / "recordings"))
    complete(store, adapter)
    complete(store, adapter, name="cat")
    original = Path(store.folder(identity()))
    targets = [original.with_name(copy.format(original.name)) for copy in copies]
    for target in targets:
        shutil.copytree(original, target)
        (target / "steps.parquet").write_bytes(b"")  # none of them is read
    cat, dog = sorted(store.list(), key=lambda summary: summary.concept)
    assert (cat.copies, sorted(dog.copies)) == ((), sorted(map(str, targets)))
    assert dog.folder == str(original)
    place = str(tmp_path)
    assert [recording.concept for recording in read_place(place)] == ["cat", "dog"]
    output = CliRunner().invoke(app, ["recordings", "verify", place], env={"COLUMNS": "300"}).output
    assert f"2 of 2 recordings in {store.url} are sound" in output
    assert all(f"{target} is a copy of {original.name} and not counted" in output for target in targets)


def test_a_recording_in_a_renamed_folder_is_read(tmp_path, adapter):
    store = RecordingStore(str(tmp_path / "recordings"))
    complete(store, adapter)
    original = Path(store.folder(identity()))
    original.rename(original.with_name(f"{original.name} (1)"))
    (summary,) = store.list()
    assert summary.copies == ()
    assert store.read(summary.key).key == identity().key


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


@pytest.mark.parametrize("losses", [["high"], [[1.0]], 5, [True]])
def test_facts_that_no_training_has_are_named(local, losses):
    recorder = local.recorder(identity())
    recorder.started({"initial_losses": losses, "further": [None]})
    with pytest.raises(InvalidInput, match=r"facts.json is damaged: facts are not understood: initial_losses"):
        local.read(identity().key)


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


def test_repeated_scores_belong_to_the_last_snapshot(store, adapter):
    recorder = begun(store)
    recorder.snapshot(0, {"a": 1.0}, {"train": 1.0}, adapter)
    recorder.steps(rows(1, 2))
    recorder.snapshot(2, {"a": 2.0}, {"train": 1.0}, adapter, {"a": [1.5, 2.5]})
    assert {name: list(v) for name, v in store.find(identity()).quality.repeated_scores.items()} == {"a": [1.5, 2.5]}
    recorder.ended("complete", "done")
    assert store.find(identity()).quality.repeated_scores["a"].tolist() == [1.5, 2.5]
    assert list(store.find(identity()).quality.scores) == ["a"]


def test_repeated_scores_go_with_their_snapshot(store, adapter):
    recorder = begun(store)
    recorder.snapshot(0, {"a": 1.0}, {"train": 1.0}, adapter)
    recorder.steps(rows(1, 2))
    recorder.snapshot(2, {"a": 2.0}, {"train": 1.0}, adapter, {"a": [1.5]})
    recorder.resumed(0)
    assert store.find(identity()).quality.repeated_scores == {}
