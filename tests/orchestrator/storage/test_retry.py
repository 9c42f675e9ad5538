"""What is tried again, what is not, and what a failure says; no name leads outside a storage."""

import errno
import os
import time

import fsspec
import pytest

from orchestrator.recordings import RecordingStore, StorageFailure, StorageFull
from orchestrator.recordings.identity import RunIdentity
from orchestrator.storage import retry
from orchestrator.storage.storage import Storage

pytestmark = pytest.mark.process


def identity(name):
    return RunIdentity({"concept": {"name": name}, "budget": 12, "seed": 0})


def objects():
    """All that the S3 server holds."""
    return fsspec.filesystem("s3").find("bucket")


def test_a_storage_that_refuses_from_the_start_is_named(server, s3, short_pauses):
    server.share = 1.0
    with pytest.raises(StorageFailure, match=f"storage {s3} cannot be written, tried 10 times"):
        RecordingStore(s3).check_writable()


def test_a_bucket_that_is_not_there_is_not_tried_again(server, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited for what never comes"))
    with pytest.raises(StorageFailure, match=r"s3://mistyped cannot be written .*bucket does not exist\); .*--storage"):
        RecordingStore("s3://mistyped").check_writable()
    assert fsspec.filesystem("s3").ls("") == ["bucket"]


def test_a_disk_that_is_full_from_the_start_is_named(small_disk):
    (small_disk / "filler").write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
    files = Storage(str(small_disk)).files()
    with pytest.raises(StorageFull, match=f"storage {small_disk} cannot be written .*free space there"):
        files.write("x", bytes(10_000))
    assert files.children() == ["filler"]


@pytest.mark.parametrize(
    ("number", "tries"),
    [
        (errno.EIO, 3), (errno.ESTALE, 3), (errno.EAGAIN, 3), (errno.ETIMEDOUT, 3),
        (errno.ENOSPC, 1), (errno.EDQUOT, 1), (errno.EROFS, 1), (errno.EACCES, 1), (errno.ENAMETOOLONG, 1),
    ],
)  # fmt: skip
def test_only_what_may_pass_is_tried_again(tmp_path, monkeypatch, number, tries):
    monkeypatch.setattr(retry, "PAUSES", (0.0, 0.0))
    files, calls = Storage(str(tmp_path)).files(), []
    files.write("x", b"old")

    def sync(descriptor):
        calls.append(descriptor)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(StorageFailure, match=rf"cannot be written.*x: {os.strerror(number)}"):
        files.write("x", b"new")
    assert len(calls) == tries
    assert files.read("x") == b"old"
    assert files.children() == ["x"]


def test_a_network_file_system_that_stumbles_is_waited_for(tmp_path, monkeypatch):
    waited, replace = [], os.replace
    monkeypatch.setattr(time, "sleep", waited.append)

    def stumble(source, target, **folders):
        if len(waited) < 2:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        replace(source, target, **folders)

    monkeypatch.setattr(os, "replace", stumble)
    files = Storage(str(tmp_path)).files()
    files.write("deep/x", b"new")
    assert files.read("deep/x") == b"new"
    assert files.children("deep") == ["x"]
    assert waited == [*retry.PAUSES[:2]]
    assert sorted(retry.PAUSES) == [*retry.PAUSES]


def test_a_storage_that_cannot_take_a_failure_down_does_not_hide_it(tmp_path, monkeypatch):
    """Whoever ends a recording as failed raises the reason; any other end must be stored."""
    monkeypatch.setattr(retry, "PAUSES", ())
    store = RecordingStore(str(tmp_path), flush_seconds=0)
    recorder = store.recorder(identity("dog"))
    recorder.started({})
    recorder.resumed(0)

    def refuse(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StorageFailure):
            recorder.ended("complete", "the budget is used up")
        recorder.ended("failed", "NaN", "a traceback")
    assert store.state(identity("dog")) == "running"
    recorder.ended("failed", "NaN")
    assert store.find(identity("dog")).reason == "NaN"


@pytest.mark.parametrize("concept", ["../../x", "..", "a/b", "/etc/x", "", "a\\..\\b", "?x=1", "#x", "*"])
@pytest.mark.parametrize("place", ["local", "s3"])
def test_no_concept_writes_outside_the_storage(server, s3, tmp_path, concept, place):
    url = f"{s3}/inner/store" if place == "s3" else str(tmp_path / "inner" / "store")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights").write_bytes(b"abc")
    before = set(objects())
    store = RecordingStore(url, flush_seconds=0)
    recorder = store.recorder(identity(concept))
    recorder.started({})
    recorder.resumed(0)
    recorder.checkpoint(0, tmp_path / "adapter")
    recorder.snapshot(0, {}, {}, tmp_path / "adapter")
    inside = f"{store.folder(identity(concept)).removeprefix('s3://')}/"
    folder = inside.removeprefix(url.removeprefix("s3://")).strip("/")
    assert folder.strip(".") == folder
    assert "/" not in folder
    if place == "s3":
        assert len(before) < len(objects())
        assert all(path.startswith(inside) for path in objects() if path not in before)
    else:
        assert {path.name for path in tmp_path.iterdir()} == {"inner", "adapter"}
        assert [path.name for path in (tmp_path / "inner" / "store").iterdir()] == [folder]
    assert store.find(identity(concept)).concept == concept
