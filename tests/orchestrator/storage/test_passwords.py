"""Passwords: no secret of an address is printed, stored or logged, and what is no secret stays."""

import json
import logging
import string

import mlflow
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.config.load import build
from orchestrator.recordings import RecordingStore
from orchestrator.recordings.identity import RunIdentity
from orchestrator.storage.passwords import without_password, without_password_of, without_passwords
from orchestrator.study.storage import open_storage
from orchestrator.tracking.mlflow import Tracker
from trainables.errors import InvalidInput


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:s3cret@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql+psycopg://me:a/b@host/db", "postgresql+psycopg://me:***@host/db"),
        ("postgresql://me:a@b@host/db", "postgresql://me:***@host/db"),
        ("mysql://me:/@:?#&=@host/db?charset=utf8", "mysql://me:***@host/db?charset=utf8"),
        ("postgresql://host/db?user=me&password=a%2Fb&sslmode=require", "postgresql://host/db?user=me&password=***&sslmode=require"),
        ("postgresql://host/db?pass%77ord=s3cret", "postgresql://host/db?pass%77ord=***"),
        ("mssql://host/db;UID=me;PWD=s3cret?x=1", "mssql://host/db;UID=me;PWD=***"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Ds3cret", "mssql+pyodbc:///?odbc_connect=***"),
        ("https://bucket/x?X-Amz-Signature=s3cret&X-Amz-Date=1", "https://bucket/x?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://host/#access_token=s3cret", "https://host/#access_token=***"),
        ("https://hf_s3cret@host/x", "https://***@host/x"),
        ("git+https://ghp_s3cret@host/x.git", "git+https://***@host/x.git"),
        ("git+ssh://git@host/x.git", "git+ssh://git@host/x.git"),
        ("s3://AKIA:s3cret@bucket/runs", "s3://AKIA:***@bucket/runs"),
        ("sftp://me:@host/x", "sftp://me:***@host/x"),
        ("redis://:s3cret@host:6379/0", "redis://:***@host:6379/0"),
        ("postgresql:/me:s3cret@host/db", "postgresql:***@host/db"),
        ("me:s3cret@host:5432/db", "me:***@host:5432/db"),
    ],
)  # fmt: skip
def test_the_secret_is_hidden_and_the_rest_is_shown(address, shown):
    assert without_password(address) == shown
    assert without_password(shown) == shown
    assert without_passwords(f"cannot open {address} now") == f"cannot open {shown} now" or "://" not in address


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/runs@home", "s3://bucket/a:b@c", "sftp://me@host/x", "http://127.0.0.1:5000", "http://[::1]:5000/#/runs",
        "postgresql://host:5432/db?sslmode=require", "sqlite:////home/me/my runs #2, 100%25%3F/x.db", "memory://",
        "auto", "/home/a:b@c/x", "./a:b@c", "~/a:b@c", "journal:a:b@c.log", "journal:/x/study.log", "dvar-runs", "",
        "file:///a:b/c",
    ],
)  # fmt: skip
def test_what_holds_no_secret_is_shown_as_it_is(address):
    assert without_password(address) == address


PASSWORDS = st.text(string.ascii_letters + string.digits + "/@:?#&=;%+!$'()*,[]~-._", max_size=20)
PLACES = ["host", "host:5432/db", "host/db?sslmode=require", "[::1]:1/x"]


@settings(max_examples=500, deadline=None)
@given(password=PASSWORDS, scheme=st.sampled_from(["postgresql", "http", "x+y-z.0"]), place=st.sampled_from(PLACES))
@example(password="@", scheme="http", place="host")
def test_no_password_is_shown_however_it_is_written(password, scheme, place):
    """Between marks, so that no part of it is in the rest of the address by chance."""
    assert without_password(f"{scheme}://me:ÿ{password}ÿ@{place}") == f"{scheme}://me:***@{place}"
    value = password.translate({ord("&"): "%26", ord("@"): "%40"})
    assert without_password(f"{scheme}://{place}?token=ÿ{value}ÿ&a=b").endswith("token=***&a=b")


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("mysql://me:abcd@efgh@host/x", "could not translate host name 'efgh@host'"),
        ("mysql://me:abcd%2Fefgh@host/x", "password authentication failed for abcd/efgh"),
        ("mysql://host/x?password=abcd+efgh", "bad option: password='abcd efgh'"),
        ("http://me:abcd@host", "API request to http://me:abcd@host/api/2.0/mlflow failed"),
        ("sftp://me:ab cd/efgh@host/x", "cannot open sftp://me:ab cd/efgh@host/x/recordings"),
    ],
)
def test_an_error_about_an_address_does_not_tell_its_password(address, text):
    shown = without_password_of(address, text)
    assert not any(part in shown for part in ("abcd", "efgh"))
    assert "***" in shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:s3cr@et/s3cret@nowhere.invalid/x",
        "postgresql://me:s3cret@nowhere.invalid:port/x",
        "nonsense://me:s3cret@host",
        "postgresql:/me:s3cret@host/x",
        "postgresql://nowhere.invalid/x?password=s3cret",
    ],
)
def test_a_study_storage_that_cannot_be_used(url):
    with pytest.raises(InvalidInput) as caught:
        open_storage(url)
    assert "s3cret" not in str(caught.value)
    assert "***" in str(caught.value)
    shown = json.dumps(build(None, None, [("study.storage", url), ("storage", url)]).public())
    assert "s3cret" not in shown


@pytest.mark.parametrize(
    "uri",
    [
        "http://tom:s3cret@127.0.0.1:9",
        "http://tom:s3cr@et/s3cret@127.0.0.1:9",
        "http://s3cret-token@127.0.0.1:9",
        "http://127.0.0.1:9/?password=s3cret",
    ],
)
def test_a_tracking_address_that_does_not_answer(uri, tmp_path, monkeypatch, caplog, capfd):
    """Neither the warning, nor the doctor, nor a library's log shows the password."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_MAX_RETRIES", "1")
    experiment = build(None, None, [("storage", str(tmp_path))])
    with caplog.at_level(logging.WARNING):
        problem = Tracker(experiment).problem
    assert "does not answer" in problem
    assert "***" in problem
    printed = capfd.readouterr()
    for text in (problem, caplog.text, printed.out, printed.err):
        assert "s3cret" not in text


def test_what_is_logged_to_mlflow_holds_no_password(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    experiment = build(None, None, [("storage", str(tmp_path)), ("study.storage", "postgresql://me:s3/cret@host/x")])
    params = experiment.public() | {"recordings": ["sftp://me:s3/cret@host/x"], "place": "sftp://me:s3/cret@host/x"}
    tracker = Tracker(experiment)
    with tracker.run("benchmark", params, name="benchmark sftp://me:s3/cret@host/x") as parent:
        pass
    run = mlflow.MlflowClient(tracker.uri).get_run(parent.run_id)
    assert "cret" not in json.dumps(run.to_dictionary())
    assert run.data.params["study.storage"] == "postgresql://me:***@host/x"
    assert run.info.run_name == "benchmark sftp://me:***@host/x"


def test_what_is_stored_and_printed_of_a_failed_run_holds_no_password(tmp_path):
    identity = RunIdentity({"concept": {"name": "dog"}, "budget": 3, "seed": 0, "method": {"name": "svdiff"}})
    recorder = RecordingStore(str(tmp_path / "recordings")).recorder(identity)
    recorder.started({})
    recorder.ended("failed", "sftp://me:s3cret@host/x is full", "Traceback: sftp://me:s3/cr@et@host/x?token=s3cret")
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"s3cret" not in written
    assert b"sftp://me:***@host/x is full" in written
    assert "sftp://me:***@host/x is full" in CliRunner().invoke(app, ["status", str(tmp_path)]).output


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "nonsense://me:s3cret@host/x"],
        ["recordings", "list", "nonsense://me:s3cret@host/x"],
        ["recordings", "verify", "nonsense://me:s3/cret:s3cret@host/x"],
        ["show", "--set", "budget=sftp://me:s3cret@host/x"],
        ["tune", "--live", "--recordings", "sftp://me:s3cret@host/x"],
    ],
)
def test_errors_on_the_command_line(arguments):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "***" in done.output
    assert "s3cret" not in done.output
