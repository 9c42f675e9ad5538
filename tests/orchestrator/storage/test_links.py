"""Links that someone planted in a storage: nothing outside it is read, written, listed or removed."""

import os
import shutil
from pathlib import Path

import pytest

from orchestrator.recordings import RecordingStore
from orchestrator.recordings.verification import verify
from orchestrator.storage.atomic import replacing, write_atomically
from orchestrator.storage.storage import Storage
from tests.orchestrator.recordings.writing import begun, identity, rows
from trainables.errors import InvalidInput


@pytest.fixture
def home(tmp_path):
    """A victim's folder that has everything that a recording has, and leftovers of ours."""
    home = tmp_path / "home"
    for folder in ("thesis", "step-000003-0123abcd", "checkpoint", "snapshots/step-000003", "writers"):
        (home / folder).mkdir(parents=True)
        (home / folder / "years of work").write_text("x")
    partial = f".{'0' * 32}.dvar-partial"
    for name in ("status.json", "steps.parquet", "checkpoint.json", "1.json", "weights.bin", partial):
        (home / name).write_text("{}")
    return home


def state(folder):
    return {
        path.relative_to(folder): (path.lstat().st_mtime_ns, None if path.is_dir() else path.read_bytes())
        for path in sorted(folder.rglob("*"))
    }


def use(store, adapter):
    """Do everything that is done with a recording, however much of it fails."""
    recorder = store.recorder(identity())
    steps = [
        lambda: recorder.started({"device": "CPU"}),
        recorder.checkpoint_folder,
        lambda: recorder.resumed(3),
        lambda: recorder.steps(rows(4, 6)),
        lambda: recorder.snapshot(6, {"a": 1.0}, {"train": 1.0}, adapter),
        lambda: recorder.checkpoint(6, adapter),
        lambda: store.find(identity()),
        lambda: store.list(),
        lambda: store.snapshot_folder(identity().key, 3),
        lambda: [*verify(Storage(store.url))],
        lambda: recorder.ended("complete", "done"),
        lambda: recorder.ended("failed", "no", "trace"),
    ]
    refused = 0
    for step in steps:
        try:
            step()
        except (InvalidInput, ValueError, RuntimeError):
            refused += 1
    return refused


PLANTED = [
    "", "checkpoint", "snapshots", "snapshots/step-000003", "writers", "writers/1.json", "writers/2.json",
    "status.json", "status-2.json", "steps.parquet", "quality-2.parquet", "facts.json", "manifest.json",
    "checkpoint.json", "traceback.txt", "checkpoint/step-000001-aaaaaaaa", "deep/deeper",
]  # fmt: skip


@pytest.mark.parametrize("target", ["{home}", "{home}/status.json", "../../../home", "{home}/nowhere"])
@pytest.mark.parametrize("name", PLANTED)
def test_a_link_in_a_recording_leads_nowhere(local, adapter, tmp_path, home, name, target):
    recorder = begun(local)
    recorder.steps(rows(1, 3))
    recorder.snapshot(3, {"a": 1.0}, {"train": 1.0}, adapter)
    recorder.checkpoint(3, adapter)
    planted = Path(local.folder(identity())) / name
    if planted.is_dir():
        shutil.rmtree(planted)
    else:
        planted.unlink(missing_ok=True)
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.symlink_to(target.format(home=home))
    before = state(home)
    use(local, adapter)
    assert state(home) == before
    assert not (home / "nowhere").exists()


@pytest.mark.parametrize("what", ["pipe", "folder"])
@pytest.mark.parametrize("name", ["status.json", "facts.json", "steps.parquet", "writers/1.json"])
def test_what_is_no_file_is_refused_and_not_waited_for(local, adapter, name, what):
    begun(local).steps(rows(1, 3))
    path = Path(local.folder(identity())) / name
    path.unlink(missing_ok=True)
    os.mkfifo(path) if what == "pipe" else path.mkdir()
    assert use(local, adapter) > 0


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a//b", "./x", ".."])
def test_no_name_leads_out(tmp_path, name):
    files = Storage(str(tmp_path / "store")).files()
    files.write("a/b", b"1")
    for action in (
        lambda: files.write(name, b""), lambda: files.read(name), lambda: files.remove(name),
        lambda: files.create(name, b""), lambda: files.copy("a/b", name), lambda: files.measure(name),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match="leads outside"):
            action()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_the_storage_itself_may_be_a_link(tmp_path, adapter):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    store = RecordingStore(str(tmp_path / "link"), flush_seconds=0)
    begun(store).steps(rows(1, 3))
    assert len(store.find(identity()).steps) == 3
    assert len([*(tmp_path / "disk").iterdir()]) == 1


def test_a_folder_that_is_replaced_by_a_link_meanwhile_is_not_followed(tmp_path, home, monkeypatch):
    """Someone swaps it between our look and our write: what is written goes where we looked."""
    files, replace = Storage(str(tmp_path / "store")).files(), os.replace
    files.write("folder/status.json", b"old")

    def swap(source, target, **folders):
        (tmp_path / "store" / "folder").rename(tmp_path / "moved")
        (tmp_path / "store" / "folder").symlink_to(home)
        replace(source, target, **folders)

    monkeypatch.setattr(os, "replace", swap)
    before = state(home)
    files.write("folder/status.json", b"new")
    assert state(home) == before
    assert (tmp_path / "moved" / "status.json").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["best.yaml", "landscape.png", "pack.parquet"])
def test_a_link_where_a_file_is_written_is_replaced_and_not_followed(tmp_path, home, name):
    (tmp_path / name).symlink_to(home / "status.json")
    before = state(home)
    write_atomically(tmp_path / name, b"new")
    assert (tmp_path / name).read_bytes() == b"new"
    with replacing(tmp_path / name) as file:
        file.write(b"newer")
    assert not (tmp_path / name).is_symlink()
    assert state(home) == before


def test_only_partial_files_of_ours_are_leftovers(tmp_path):
    files = Storage(str(tmp_path)).files()
    ours = [f".{'a' * 32}.dvar-partial", f"deep/.{'0' * 32}.dvar-partial"]
    theirs = [".x.dvar-partial", "notes.dvar-partial", f"{'a' * 32}.dvar-partial"]
    for name in [*ours, *theirs]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert sorted(files.leftovers()) == sorted(ours)
    assert files.at("deep").leftovers() == [Path(ours[1]).name]
    assert files.at("none").leftovers() == []


def test_a_folder_in_the_place_of_a_file_costs_no_descriptor(tmp_path):
    files = Storage(str(tmp_path)).files()
    (tmp_path / "status.json").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(InvalidInput, match=r"status\.json: Is a directory"):
            files.read("status.json")
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_someone_keeps_among_the_checkpoints_stays(local, adapter):
    recorder = begun(local)
    recorder.steps(rows(1, 3))
    kept = Path(local.folder(identity())) / "checkpoint" / "my notes"
    kept.mkdir(parents=True)
    recorder.checkpoint(3, adapter)
    recorder.ended("complete", "done")
    assert [path.name for path in kept.parent.iterdir()] == ["my notes"]
