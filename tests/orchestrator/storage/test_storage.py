"""Storage: however a place is written, it is one place."""

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.commands.context import CommandContext
from orchestrator.config.load import build
from orchestrator.recordings import RecordingStore
from orchestrator.recordings.collection import open_store, read_place
from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.pack import write_pack
from orchestrator.storage.files import RemoteFiles
from orchestrator.storage.local import LocalFiles
from orchestrator.storage.storage import Storage
from orchestrator.tracking.mlflow import tracking_uri
from trainables.errors import InvalidInput


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with a link in it, and a current folder below it."""
    (tmp_path / "home" / "here").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home" / "here")
    return tmp_path / "home"


def results_folder(experiment):
    return CommandContext((experiment,), (), None, Console(), None).results_folder


def spellings(home):
    urls = [f"{protocol}{home}/runs" for protocol in ("file://", "file://localhost", "local://", "")]
    return ["~/runs", "../runs", *urls, f"{home}/runs/"]


def test_every_spelling_of_a_folder_is_one_place(home):
    assert {Storage(spelling).url for spelling in spellings(home)} == {str(home / "runs")}
    assert {Storage(spelling).path for spelling in spellings(home)} == {home / "runs"}
    assert Storage(f"file://{home}").at("a", "b").files() == LocalFiles(home / "a" / "b")


def test_other_urls_are_remote():
    bucket = Storage("s3://bucket/runs/")
    assert (bucket.url, bucket.path, bucket.is_local) == ("s3://bucket/runs", None, False)
    assert bucket.at("live", "x").files() == RemoteFiles("s3://bucket/runs/live/x")


@pytest.mark.parametrize("url", ["memory://", "s3://"])
def test_a_protocol_alone_is_no_folder(home, url):
    assert (Storage(url).url, Storage(url).is_local) == (url, False)
    assert Storage(url).at("a", "b").url == f"{url}a/b"
    assert Storage("/").at("tmp").url == "/tmp"


def test_links_and_unknown_homes(home):
    (home / "loop").symlink_to(home / "loop")
    assert Storage(home / "loop").is_local
    (home / "link").symlink_to(home / "here")
    assert Storage("~/link").path == home / "here"
    (home / "here" / "recordings").symlink_to(home / "elsewhere")
    assert Storage("~/link").at("recordings").path == home / "here" / "recordings"  # it keeps its name
    with pytest.raises(InvalidInput, match="'~nobody-of-that-name/x'"):
        Storage("~nobody-of-that-name/x")


def test_a_pack_is_found_by_every_spelling(home, make_recording):
    recording = make_recording("a")
    write_pack([recording], home / "x.parquet")
    for spelling in (f"file://{home}/x.parquet", "~/x.parquet", str(home / "x.parquet")):
        assert [packed.key for packed in read_place(spelling)] == [recording.key]


def test_commands_take_every_spelling(home):
    identity = RunIdentity({"concept": {"name": "dog"}, "budget": 3, "seed": 0, "method": {"name": "svdiff"}})
    recorder = RecordingStore(str(home / "runs" / "recordings")).recorder(identity)
    recorder.started({})
    recorder.ended("failed", "no light")
    for spelling in spellings(home):
        assert "no light" in CliRunner().invoke(app, ["status", spelling]).output
        assert [row.key for row in open_store(spelling).list()] == [identity.key]
        experiment = build(None, None, [("storage", spelling)])
        assert results_folder(experiment) == home / "runs"
        assert tracking_uri(experiment) == f"sqlite:///{home}/runs/mlflow.db"


def test_what_belongs_beside_a_remote_storage_lies_in_the_current_folder(home):
    experiment = build(None, None, [("storage", "s3://bucket/runs")])
    assert results_folder(experiment) == Path()
    assert tracking_uri(experiment) == f"sqlite:///{home}/here/dvar-runs/mlflow.db"
