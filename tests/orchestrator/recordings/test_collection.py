"""`dvar recordings` and `dvar tune --recordings`: what is packed here tunes there."""

import dataclasses
import unicodedata

import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.config.load import build
from orchestrator.recordings import RecordingStore
from orchestrator.recordings import collection as library
from orchestrator.recordings.pack import read_pack, write_pack
from trainables.errors import InvalidInput


@pytest.fixture
def recordings(make_recording):
    all_recordings = []
    for index, (name, method) in enumerate([("cat_3", "svdiff"), ("car_1", "svdiff"), ("cat_3", "p_plus")]):
        recording = make_recording(name, 200, rate=20 + 5 * index, seed=index)
        identity = recording.identity.with_fields(method={"name": method})
        all_recordings.append(dataclasses.replace(recording, identity=identity, facts={"device": "CPU"}))
    return all_recordings


@pytest.fixture
def pack(recordings, tmp_path):
    write_pack(recordings, tmp_path / "mine.parquet", compact=False)
    return tmp_path / "mine.parquet"


@pytest.fixture
def dvar(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments):
        done = CliRunner().invoke(app, [*map(str, arguments)])
        return done.exit_code, done.output

    return run


def test_what_is_imported_is_what_was_packed(dvar, pack, recordings, tmp_path):
    assert dvar("recordings", "import", pack, tmp_path / "there")[1].startswith("3 of 3 recordings are new")
    assert dvar("recordings", "import", pack, tmp_path / "there")[1].startswith("0 of 3 recordings are new")
    store = RecordingStore(str(tmp_path / "there" / "recordings"))
    for original in recordings:
        imported = store.find(original.identity)
        assert imported.state == "complete"
        assert np.array_equal(imported.steps.l_det, original.steps.l_det)
        assert np.array_equal(imported.steps.input_losses, original.steps.input_losses)
        assert np.array_equal(imported.quality.steps, original.quality.steps)
        assert (
            imported.quality.scores["train_clip_image"].tolist() == original.quality.scores["train_clip_image"].tolist()
        )
    code, printed = dvar(
        "recordings", "export", tmp_path / "again.parquet", tmp_path / "there", "--whole", "--only", "car_1"
    )
    assert (code, len(read_pack(tmp_path / "again.parquet"))) == (0, 1)
    assert "1 recordings in" in printed


def test_list_and_show(dvar, pack, recordings):
    code, printed = dvar("recordings", "list", pack)
    assert code == 0
    assert printed.count("svdiff") == 2
    assert "3 complete recordings" in printed
    code, printed = dvar("recordings", "show", recordings[2].key[:6], pack)
    assert code == 0
    assert "name: p_plus" in printed
    assert f"{recordings[2].steps.l_det[199]:.5f}" in printed
    assert dvar("recordings", "show", "nothing", pack)[0] == 2


def test_verify_names_what_is_damaged(dvar, pack, tmp_path):
    there = tmp_path / "there"
    dvar("recordings", "import", pack, there)
    assert dvar("recordings", "verify", there) == (0, f"3 of 3 recordings in {there / 'recordings'} are sound\n")
    victim = next((there / "recordings").glob("car_1-*")) / "steps.parquet"
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    code, printed = dvar("recordings", "verify", there)
    assert code == 1
    assert "damaged car_1" in printed
    assert "2 of 3 recordings" in " ".join(printed.split())
    assert dvar("recordings", "verify", pack)[0] == 0


@pytest.mark.parametrize("rows", [0, 3, 200])
def test_an_import_that_was_killed_is_finished_by_the_next(dvar, pack, recordings, tmp_path, rows):
    store = library.open_store(str(tmp_path / "there"))
    recorder = store.recorder(recordings[1].identity, is_import=True)
    recorder.started(recordings[1].facts)
    recorder.imported([library._step_row(recordings[1], step) for step in range(1, rows + 1)], [])
    recorder._write_tables()
    assert store.state(recordings[1].identity) == "running"
    assert dvar("recordings", "import", pack, tmp_path / "there")[1].startswith("3 of 3 recordings are new")
    assert np.array_equal(store.find(recordings[1].identity).steps.l_det, recordings[1].steps.l_det)
    assert dvar("recordings", "verify", tmp_path / "there")[0] == 0


@pytest.mark.parametrize("state", ["running", "failed", "stopped"])
def test_nothing_is_imported_unless_all_can_be(dvar, pack, recordings, tmp_path, state):
    store = library.open_store(str(tmp_path / "there"))
    recorder = store.recorder(recordings[2].identity)
    recorder.started(recordings[2].facts)
    if state != "running":
        recorder.ended(state, "for a test")
    before = sorted((tmp_path / "there" / "recordings").iterdir())
    code, printed = dvar("recordings", "import", pack, tmp_path / "there")
    assert (code, sorted((tmp_path / "there" / "recordings").iterdir())) == (2, before)
    assert f"is {state}" in printed


def test_two_imports_at_once_end_with_a_message(pack, recordings, tmp_path, monkeypatch):
    place, packed = str(tmp_path / "there"), read_pack(pack)
    first = library.open_store(place).recorder(packed[0].identity, is_import=True)
    first.started(packed[0].facts)
    ended, kind = [], type(first)

    def overtaken(self, *arguments):
        first._is_owner = False
        first.started(packed[0].facts)  # the other one begins again between two writes
        ended.append(arguments)
        return close(self, *arguments)

    close = kind._close
    monkeypatch.setattr(kind, "_close", overtaken)
    with pytest.raises(InvalidInput, match="another process"):
        library.take_in(packed, place)
    assert ended


BROKEN = {
    "manifest.json": [b"", b"{}", b"[" * 50_000, b'{"format": 1, "key": "\\u001b[2J", "identity": {}}'],
    "status.json": [b"\xff", b'{"state": ["running"]}', b'{"state": "complete", "reason": 5}', None],
}


@pytest.mark.parametrize(("file", "content"), [(file, content) for file, all_ in BROKEN.items() for content in all_])
def test_listings_report_a_bad_entry_and_go_on(dvar, pack, tmp_path, file, content):
    there = tmp_path / "there"
    dvar("recordings", "import", pack, there)
    folder = next((there / "recordings").glob("car_1-*"))
    (folder / file).unlink()
    (folder / file).mkdir() if content is None else (folder / file).write_bytes(content)
    for command in (["status"], ["recordings", "list"], ["recordings", "verify"], ["recordings", "show", "cat_3"]):
        code, printed = dvar(*command, there)
        assert code == (1 if "verify" in command else 0), printed
        assert printed.count("damaged car_1") == 1
        assert "\x1b" not in printed
        assert "cat_3" in printed or "2 of 3 recordings" in printed
    assert dvar("tune", "--recordings", there, "--method", "p_plus")[0] == 2  # never on a part without a word


def test_a_pack_tunes_without_concepts_or_models(dvar, pack, tmp_path):
    code, printed = dvar(
        *("tune", "--recordings", pack, "--method", "svdiff", "--trials", "12", "--tuning", "car_1,cat_3"),
        *("--objective", "mean", "--criteria", "dvar"),
    )
    assert code == 0, printed
    assert "12 settings on 2 tuning concepts (car_1, cat_3)" in printed
    assert {path.name for path in (tmp_path / "dvar-runs").glob("[bl]*")} == {
        "best-svdiff-200.yaml",
        "landscape-svdiff-200.png",
        "landscape-svdiff-200.html",
    }
    code, printed = dvar("tune", "--recordings", pack, "--method", "svdiff", "--trials", "3")
    assert "on 1 tuning concepts (cat_3)" in printed  # the one that the miniature sets aside for tuning
    code, printed = dvar("tune", "--recordings", pack, "--method", "dreambooth")
    assert code == 2
    assert "has no recording of the method 'dreambooth'; it has: p_plus, svdiff" in " ".join(printed.split())


def test_places_that_hold_nothing(tmp_path, monkeypatch):
    with pytest.raises(InvalidInput, match="there is no complete recording in"):
        library.read_place(str(tmp_path))
    monkeypatch.setattr(library, "files", lambda package: tmp_path)
    with pytest.raises(InvalidInput, match="comes without recordings"):
        library.read_place("builtin")


def test_a_method_on_two_base_models_is_two_groups(recordings):
    def on(recording, base):
        return dataclasses.replace(recording, identity=recording.identity.with_fields(base_model={"id": base}))

    of_sd15, of_miniature = (on(recordings[0], base) for base in ("sd15", "miniature"))
    method = recordings[0].identity.method
    assert library.by_method([of_sd15, on(recordings[1], "sd15")], "x", [method]).keys() == {method}
    groups = library.by_method([of_sd15, of_miniature], "x")
    assert groups == {f"{method} on miniature": [of_miniature], f"{method} on sd15": [of_sd15]}


def test_tuning_takes_the_experiments_base_model(recordings, tmp_path):
    bases = ("elsewhere", "miniature")
    both = [
        dataclasses.replace(recording, identity=recording.identity.with_fields(base_model={"id": base}))
        for recording in recordings
        for base in bases
    ]
    write_pack(both, tmp_path / "both.parquet")
    tuning = library.for_tuning(build(None, None, [("method.name", "svdiff")]), str(tmp_path / "both.parquet"))
    assert {recording.identity.base_model for recording in tuning} == {"miniature"}
    other = build(None, None, [("method.name", "svdiff"), ("base_model.id", "third")])
    with pytest.raises(InvalidInput, match=r"svdiff on elsewhere, svdiff on miniature, .*svdiff on third"):
        library.for_tuning(other, str(tmp_path / "both.parquet"))


@pytest.mark.parametrize("name", ["café", "Ångström", "강아지"])
def test_a_recording_is_found_by_its_name_in_either_form(recordings, tmp_path, name):
    """Also those that were recorded when names were taken as the file system gave them."""
    forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    for stored in forms:
        identity = recordings[0].identity.with_fields(concept={"name": stored})
        recording = dataclasses.replace(recordings[0], identity=identity)
        assert recording.identity.to_json()["concept"]["name"] == stored
        for given in forms:
            assert library.pick([recording, recordings[1]], [given]) == [recording]
            experiment = build(None, None, [("concepts.tuning", [given])])
            assert library.split([recording, recordings[1]], experiment.concepts.tuning)[0] == [recording]
