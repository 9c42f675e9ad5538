"""One flipped bit in any stored file is found when the file is verified and used, or changes nothing."""

import random
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from orchestrator.recordings import format as layout
from orchestrator.recordings.pack import read_pack, write_pack
from orchestrator.recordings.verification import verify
from orchestrator.storage.storage import Storage
from tests.orchestrator.recordings.writing import begun, complete, identity, rows
from trainables.errors import InvalidInput
from trainables.sums import SUMS_FILE, check_sums, sums_text

FLIPS = 200


@pytest.fixture
def trained(tmp_path):
    """What a method exports, with samples."""
    folder = tmp_path / "trained"
    folder.mkdir()
    numbers = np.random.default_rng(0).random((4, 16), dtype=np.float32)
    save_file({"vectors": numbers, "l_det": numbers[0].astype(np.float64)}, folder / "training.safetensors")
    (folder / "samples.png").write_bytes(np.random.default_rng(1).bytes(500))
    return folder


def everything(recording):
    """All that a reader gets of a recording."""
    tables = [recording.steps, recording.quality]
    arrays = [value for table in tables for value in vars(table).values()]
    plain = [
        {name: column.tobytes() for name, column in array.items()} if isinstance(array, dict) else array.tobytes()
        for array in arrays
    ]
    return recording.key, recording.identity.to_json(), recording.facts, recording.state, recording.reason, plain


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def resumed(store):
    """What a process gets that resumes the recording: the rows and the checkpoint's bytes."""
    recorder = store.recorder(identity())
    recorder.started({"device": "CPU"})
    folder = recorder.checkpoint_folder()
    return recorder._rows, recorder._quality, contents(folder) if folder else None


def snapshots(store):
    key = identity().key
    return {step: contents(store.snapshot_folder(key, step)) for step in store.read(key).quality.steps.tolist()}


def problems(store):
    """What verify finds; a recording that it does not see any more is found, too."""
    verdicts = [*verify(Storage(store.url))]
    return [verdict.problem for verdict in verdicts if verdict.problem] if verdicts else ["nothing there"]


def flip(data, rng):
    flipped = bytearray(data)
    position = rng.randrange(len(data) * 8)
    flipped[position // 8] ^= 1 << position % 8
    return bytes(flipped)


def answer(use):
    try:
        return use()
    except InvalidInput:
        return "found"


def check(path, uses, seed, count=FLIPS):
    """Flip bits, singly; every use must refuse, or give what it gave before. Return how many were refused."""
    rng, data, before = random.Random(seed), path.read_bytes(), [use() for use in uses]
    found = 0
    for _ in range(count):
        path.write_bytes(flip(data, rng))
        answers = [answer(use) for use in uses]
        for now, expected in zip(answers, before, strict=True):
            assert now in ("found", expected)
        found += "found" in answers
    path.write_bytes(data)
    assert [use() for use in uses] == before
    return found


ENDED = ["manifest.json", "facts.json", "status.json", "steps.parquet", "quality.parquet"]


@pytest.mark.parametrize("name", ENDED)
def test_the_files_of_an_ended_recording(local, trained, name):
    complete(local, trained, steps=20)
    path = Path(local.folder(identity())) / name
    found = check(path, [lambda: everything(local.read(identity().key)), lambda: everything(local.find(identity()))], 0)
    assert found > 0.5 * FLIPS
    rng, data = random.Random(1), path.read_bytes()
    before = everything(local.read(identity().key))
    for _ in range(FLIPS):
        path.write_bytes(flip(data, rng))
        assert problems(local) or everything(local.read(identity().key)) == before


@pytest.mark.parametrize("name", ENDED)
def test_the_files_of_a_running_recording(local, trained, name):
    """Its tables have no hash in the status yet, and say themselves what they hold."""
    recorder = begun(local)
    recorder.snapshot(0, {"a": 0.5}, {"train": 1.0}, trained)
    recorder.steps(rows(1, 20))
    recorder.snapshot(20, {"a": 0.75}, {"train": 1.0}, trained)
    path = Path(local.folder(identity())) / name
    check(path, [lambda: everything(local.read(identity().key))], 2)


@pytest.mark.parametrize("name", ["traceback.txt", "writers/1.json"])
def test_the_traceback_and_the_claim_of_a_failed_recording(local, trained, name):
    """A traceback is read by people, and a claim by its name alone: verify finds what is wrong with the former."""
    recorder = begun(local)
    recorder.steps(rows(1, 6))
    recorder.ended("failed", "NaN", "Traceback of an error\n")
    path = Path(local.folder(identity())) / name
    found = check(path, [lambda: everything(local.find(identity())), lambda: problems(local) and "found"], 7)
    assert found == (FLIPS if name == "traceback.txt" else 0)


def test_a_pack(local, trained, tmp_path):
    complete(local, trained, steps=30)
    path = tmp_path / "pack.parquet"
    write_pack([local.read(identity().key)], path)
    assert check(path, [lambda: [everything(recording) for recording in read_pack(path)]], 8) > 0.5 * FLIPS


@pytest.mark.parametrize("name", ["training.safetensors", "samples.png"])
def test_the_files_of_a_snapshot(local, trained, name):
    complete(local, trained)
    path = Path(local.folder(identity())) / "snapshots" / "step-000006" / name
    assert check(path, [lambda: snapshots(local)], 3) == FLIPS
    path.write_bytes(flip(path.read_bytes(), random.Random(4)))
    assert f"{path} is damaged: its sha256 is" in problems(local)[0]


@pytest.mark.parametrize("name", ["training.safetensors", "samples.png", "checkpoint.json"])
def test_a_checkpoint_is_resumed_as_it_was_written_or_not_at_all(local, trained, name):
    recorder = begun(local)
    recorder.steps(rows(1, 6))
    recorder.checkpoint(6, trained)
    place = Path(local.folder(identity()))
    (path,) = place.glob(name if name == "checkpoint.json" else f"checkpoint/*/{name}")
    rng, data, found = random.Random(5), path.read_bytes(), 0
    expected = contents(trained)
    for number in range(FLIPS):
        path.write_bytes(flip(data, rng))
        if number % 20 == 0:  # resuming changes the recording, so most flips are checked without it
            copied = type(local)(f"{local.url}-{number}", flush_seconds=0)
            shutil.copytree(local.url, copied.url)
            assert answer(partial(resumed, copied)) in ("found", (recorder._rows, [], expected))
        got = answer(lambda: contents(local.recorder(identity()).checkpoint_folder()))
        assert got in ("found", expected)
        assert got == expected or problems(local)
        found += got == "found"
    assert found == FLIPS if name != "checkpoint.json" else found > 0.5 * FLIPS


@pytest.mark.parametrize("name", ["training.safetensors", "samples.png", SUMS_FILE])
def test_an_export(local, trained, tmp_path, name):
    complete(local, trained)
    (folder,) = (path.name for path in Path(local.url).iterdir())
    files = Storage(str(tmp_path / "adapters")).files()
    stored = files.put_folder(folder, trained)
    files.write(f"{folder}/{SUMS_FILE}", sums_text({name: about.sha256 for name, about in stored.items()}).encode())
    place = tmp_path / "adapters" / folder

    def verdicts():
        return [verdict.problem for verdict in verify(Storage(local.url), Storage(str(tmp_path / "adapters")))]

    assert verdicts() == [None]
    rng, data = random.Random(6), (place / name).read_bytes()
    for _ in range(FLIPS):
        (place / name).write_bytes(flip(data, rng))
        assert answer(lambda: check_sums(place)) == "found"
        assert "is damaged" in verdicts()[0]
    (place / name).write_bytes(data)
    check_sums(place)
    (place / "more.safetensors").write_bytes(b"")
    with pytest.raises(InvalidInput, match="does not list it"):
        check_sums(place)


def test_an_export_of_a_recording_whose_files_have_no_hash(local, trained, tmp_path, monkeypatch):
    """An older version noted their sizes alone, and this one exported it."""
    monkeypatch.setattr(layout, "stored_json", lambda files: {name: about.size for name, about in files.items()})
    complete(local, trained)
    (folder,) = (path.name for path in Path(local.url).iterdir())
    files = Storage(str(tmp_path / "adapters")).files()
    stored = files.put_folder(folder, trained)
    files.write(f"{folder}/{SUMS_FILE}", sums_text({name: about.sha256 for name, about in stored.items()}).encode())
    (verdict,) = verify(Storage(local.url), Storage(str(tmp_path / "adapters")))
    assert (verdict.problem, verdict.without_hash) == (None, 4)
    (tmp_path / "adapters" / folder / "samples.png").write_bytes(b"cut off")
    (verdict,) = verify(Storage(local.url), Storage(str(tmp_path / "adapters")))
    assert "samples.png is damaged" in verdict.problem


def test_verify_goes_on_after_a_damaged_recording_and_counts_what_has_no_hash(local, trained):
    complete(local, trained, name="dog")
    complete(local, trained, name="cat")
    begun(local, name="owl").steps(rows(1, 2))
    (Path(local.folder(identity(name="cat"))) / "status.json").write_text("{")
    verdicts = {verdict.name.split("-")[0]: verdict for verdict in verify(Storage(local.url))}
    assert "status.json is damaged" in verdicts["cat"].problem
    assert (verdicts["dog"].problem, verdicts["dog"].is_done, verdicts["dog"].without_hash) == (None, True, 0)
    assert (verdicts["owl"].problem, verdicts["owl"].is_done) == (None, False)


@pytest.mark.parametrize("name", ["steps.parquet", "quality.parquet"])
def test_a_table_whose_content_is_not_what_it_states_is_refused(local, trained, name):
    """The checksums of its pages fit: only the hash of the whole content tells."""
    recorder = begun(local)
    recorder.steps(rows(1, 6))
    recorder.snapshot(6, {"a": 0.5}, {"train": 1.0}, trained)
    path = Path(local.folder(identity())) / name
    table = pq.read_table(path)
    pq.write_table(table, path, use_dictionary=False, write_page_checksum=True)
    assert local.find(identity()).steps.l_det.tolist() == [row.l_det for row in rows(1, 6)]
    changed = table.set_column(1, table.schema.field(1), pa.array(np.zeros(len(table))))
    pq.write_table(changed, path, use_dictionary=False, write_page_checksum=True)
    with pytest.raises(InvalidInput, match=rf"{name} is damaged: its content does not match the hash that it states"):
        local.find(identity())
