"""MLflow on its real SQLite store: parents, children, thinning, and how runs end."""

import http.server
import re
import shlex
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path

import mlflow
import pytest

from orchestrator import runs
from orchestrator.tracking.answers import check_answers
from orchestrator.tracking.mlflow import MAX_POINTS, Tracker, tracking_uri
from trainables.errors import InvalidInput
from trainables.training.report import Report


@pytest.fixture
def experiment(make_experiment):
    return make_experiment()


@pytest.fixture
def tracker(experiment, mlflow_store):
    mlflow_store(Path(experiment.storage))
    return Tracker(experiment)


@pytest.fixture
def specs(experiment, toy_concepts):
    return runs.run_specs(experiment, toy_concepts[:2])


def runs_by_name(experiment, uri=None):
    client = mlflow.MlflowClient(uri or tracking_uri(experiment))
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return client, {run.info.run_name: run for run in client.search_runs(ids)}


def report(first, values, **metrics):
    last = first + len(values) - 1
    return Report(last, first, tuple(values), "running", {"l_det": values[-1], "train_loss": 1.0, **metrics})


def test_parent_and_children_with_parameters_and_metrics(experiment, tracker, specs):
    with tracker.run("record", {"budget": 40, "quality": {"every": 20}}) as parent:
        parent.runs_started(specs, 40)
        parent.run_reported(specs[0], report(1, [3.0, 2.0], train_clip_image=0.5))
        parent.run_reported(specs[0], report(3, [1.0]))
        parent.run_ended(runs.RunResult(specs[0], "complete", 3, "done", True))
        parent.run_ended(runs.RunResult(specs[1], "failed", 0, "it broke", True))
    client, by_name = runs_by_name(experiment)
    assert len(by_name) == 3
    record, good, bad = (by_name[name] for name in ("record textual_inversion", *(spec.concept for spec in specs)))
    assert record.info.status == "FINISHED"
    assert record.data.params == {"budget": "40", "quality.every": "20"}
    assert "mlflow.parentRunId" not in record.data.tags
    for spec, child in zip(specs, (good, bad), strict=True):
        assert child.data.tags["mlflow.parentRunId"] == record.info.run_id
        assert child.data.tags["dvar.key"] == spec.key
        assert child.data.params.items() >= {"concept": spec.concept, "budget": "40"}.items()
    assert (good.info.status, bad.info.status) == ("FINISHED", "FAILED")
    assert bad.data.tags["dvar.reason"] == "it broke"
    assert "steps" not in bad.data.metrics
    history = client.get_metric_history(good.info.run_id, "l_det")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert good.data.metrics == {"l_det": 1.0, "train_loss": 1.0, "train_clip_image": 0.5, "steps": 3.0}


def test_every_metric_stands_at_the_step_at_which_it_was_measured(experiment, tracker, specs):
    with tracker.run("record", {}) as parent:
        parent.runs_started(specs[:1], 40)
        parent.run_reported(specs[0], report(1, [3.0, 2.0], train_clip_image=0.5))
        parent.run_reported(specs[0], report(3, [1.0, 0.5, 0.25], train_clip_image=0.75))
    client, by_name = runs_by_name(experiment)
    run_id = by_name[specs[0].concept].info.run_id
    history = {name: client.get_metric_history(run_id, name) for name in ("l_det", "train_clip_image", "train_loss")}
    steps = {name: [point.step for point in points] for name, points in history.items()}
    assert steps == {"l_det": [1, 2, 3, 4, 5], "train_clip_image": [2, 5], "train_loss": [2, 5]}


def test_long_series_are_thinned(experiment, tracker, specs):
    with tracker.run("record", {}) as parent:
        parent.runs_started(specs[:1], 6100)
        for first in range(1, 6101, 61):
            parent.run_reported(specs[0], report(first, [1.0] * 61))
    client, by_name = runs_by_name(experiment)
    history = client.get_metric_history(by_name[specs[0].concept].info.run_id, "l_det")
    assert MAX_POINTS / 2 < len(history) <= MAX_POINTS


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (RuntimeError, "FAILED")])
def test_no_run_is_left_running(experiment, tracker, specs, error, status):
    def broken_command():
        with tracker.run("record", {}) as parent:
            parent.runs_started(specs, 40)
            raise error

    with pytest.raises(error):
        broken_command()
    _, by_name = runs_by_name(experiment)
    assert by_name["record textual_inversion"].info.status == status
    assert {by_name[spec.concept].info.status for spec in specs} == {"KILLED"}


def test_what_a_killed_driver_left_is_closed(experiment, tracker, specs):
    forsaken = tracker.run("record", {})
    forsaken.__enter__().runs_started(specs[:1], 40)
    with tracker.run("record", {}) as parent:
        parent.runs_started(specs[:1], 40)
    client = mlflow.MlflowClient(tracking_uri(experiment))
    statuses = [run.info.status for run in client.search_runs(["1"])]
    assert sorted(statuses) == ["FINISHED", "KILLED", "KILLED", "KILLED"]


@pytest.fixture
def server():
    """Start a server of HTTP that gives every request the same answer, after a while."""
    servers = []

    def start(status, body=b"{}", seconds=0.0):
        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                time.sleep(seconds)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815 - the names that the base class looks for

            def log_message(self, *arguments):
                pass

        started = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=started.serve_forever, daemon=True).start()
        servers.append(started)
        return f"http://127.0.0.1:{started.server_port}"

    yield start
    for started in servers:
        started.shutdown()


@pytest.fixture
def impatient(monkeypatch):
    """The variables of MLflow's client at values that end a test in seconds."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")


DENIED = b'{"error_code": "PERMISSION_DENIED", "message": "you may not"}'


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [(401, b"who are you", "401"), (403, DENIED, "you may not"), (404, b"no such page", "404")],
)
def test_an_answer_that_says_no_is_refused(experiment, server, monkeypatch, impatient, status, body, words):
    uri = server(status, body)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("://", "://me:secret@"))
    with pytest.raises(InvalidInput, match=r"MLflow at .* cannot be used") as refused:
        Tracker(experiment)
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("kind", ["closed port", "unknown host", "too slow", "out of order", "database"])
def test_no_answer_is_a_problem_and_nothing_is_logged(experiment, server, specs, monkeypatch, impatient, kind):
    uri = {
        "closed port": lambda: "http://127.0.0.1:9",
        "unknown host": lambda: "https://no-such-host.invalid/mlflow",
        "too slow": lambda: server(200, seconds=4.0),
        "out of order": lambda: server(503),
        "database": lambda: "postgresql://me:secret@127.0.0.1:9/mlflow",
    }[kind]()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    begun = time.monotonic()
    tracker = Tracker(experiment)
    assert "does not answer" in tracker.problem
    assert "secret" not in tracker.problem
    with tracker.run("record", {"budget": 40}) as parent:
        parent.runs_started(specs, 40)
        parent.run_reported(specs[0], report(1, [3.0, 2.0]))
        parent.run_ended(runs.RunResult(specs[0], "complete", 2, "done", True))
        parent.finish(parent.child("a", {}, {}), {"b": 1.0})
        parent.log_text("hello", "x.txt")
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("name", ["miniature-textual-inversion", "of my own", "a 'quoted' one"])
def test_a_deleted_experiment_is_named_with_the_remedy(experiment, mlflow_store, monkeypatch, name):
    mlflow_store(Path(experiment.storage))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    Tracker(experiment)
    client = mlflow.MlflowClient(tracking_uri(experiment))
    client.delete_experiment(client.get_experiment_by_name(name).experiment_id)
    with pytest.raises(
        InvalidInput, match=r"was deleted in MLflow; restore it \(.*mlflow experiments restore"
    ) as refused:
        Tracker(experiment)
    assert repr(name) in str(refused.value)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"{name} 2")
    assert not Tracker(experiment).problem


def test_the_printed_command_restores_a_deleted_experiment(experiment):
    Tracker(experiment)
    client = mlflow.MlflowClient(tracking_uri(experiment))
    deleted = client.get_experiment_by_name(experiment.name)
    client.delete_experiment(deleted.experiment_id)
    with pytest.raises(InvalidInput) as refused:
        Tracker(experiment)
    command = re.search(r"restore it \((.*?)\), or", str(refused.value))[1]
    assignment, *words = shlex.split(command)
    assert assignment == f"MLFLOW_TRACKING_URI={tracking_uri(experiment)}"
    assert words == ["mlflow", "experiments", "restore", "--experiment-id", deleted.experiment_id]


@pytest.mark.parametrize("broken", ["create_run", "log_batch", "log_artifact", "set_terminated"])
def test_a_failure_amid_a_command_is_a_line_without_the_password(tracker, tmp_path, monkeypatch, capfd, broken):
    def fail(*arguments, **keywords):
        raise mlflow.MlflowException("API request to http://me:s3cret@host:1/api failed with exception ...")

    (tmp_path / "x.txt").write_text("hello")
    monkeypatch.setattr(mlflow.MlflowClient, broken, fail)
    with tracker.run("tune", {"a": 1}) as parent:
        parent.log_artifact(tmp_path / "x.txt")
        parent.finish(parent.child("dog", {}, {}), {"b": 1.0})
        parent.log_metrics({"c": 1.0})
    printed = capfd.readouterr().err
    assert printed.startswith("warning: MLflow could not ")
    assert "me:***@host" in printed
    assert "s3cret" not in printed


@pytest.mark.parametrize("kind", ["damaged", "folder", "no driver"])
def test_a_store_that_cannot_be_opened_is_refused_at_once(kind, experiment, tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'mine.db'}"
    if kind == "damaged":
        (tmp_path / "mine.db").write_bytes(b"not a database" * 100)
    elif kind == "folder":
        (tmp_path / "mine.db").mkdir()
    else:
        uri = "oracle+cx_oracle://me:s3cret@host/x"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    begun = time.monotonic()
    with pytest.raises(InvalidInput, match=r"MLflow at .* cannot be used") as refused:
        Tracker(experiment)
    assert "s3cret" not in str(refused.value)
    assert time.monotonic() - begun < 30  # MLflow itself tries for 100 s; its import alone takes seconds


def test_a_database_that_refuses_a_password_is_asked_once(experiment, monkeypatch):
    pytest.importorskip("psycopg")
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse_passwords, args=(listener, asked), daemon=True).start()
        port = listener.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql+psycopg://me:s3cret@127.0.0.1:{port}/x")
        with pytest.raises(InvalidInput, match="password authentication failed") as refused:
            Tracker(experiment)
    assert "s3cret" not in str(refused.value)
    assert len(asked) == 1


def refuse_passwords(listener, asked):
    """Answer as PostgreSQL's server does to a wrong password."""
    message = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "me"\0\0'
    answer = b"E" + struct.pack("!I", len(message) + 4) + message
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                while (request := connection.recv(1024)) and struct.unpack("!I", request[4:8])[0] > 80877000:
                    connection.sendall(b"N")  # no encryption
                if request:
                    asked.append(request)
                    connection.sendall(answer)


@pytest.mark.parametrize(
    "uri",
    ["http://me:sec/ret@host/", "http://[abc", "http://a..b:5000", "https://x:99999", "postgresql://me:sec@h:port/x"],
)
def test_what_is_no_address_is_refused_without_the_password(experiment, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InvalidInput, match="is no address") as refused:
        Tracker(experiment)
    assert "sec" not in str(refused.value)


def test_a_slash_in_a_databases_password_does_not_end_its_login():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        check_answers(f"postgresql://me:12/34@127.0.0.1:{listener.getsockname()[1]}/x")


def test_what_was_only_interrupted_is_killed_not_failed(experiment, tracker, specs):
    with tracker.run("record", {}) as parent:
        parent.runs_started(specs, 40)
        parent.run_ended(runs.RunResult(specs[0], None, 0, "not begun", True))
        parent.run_ended(runs.RunResult(specs[1], None, 0, "its worker died", True, True))
    _, by_name = runs_by_name(experiment)
    assert [by_name[spec.concept].info.status for spec in specs] == ["KILLED", "FAILED"]


def test_mlflows_own_variables_choose_store_and_experiment(experiment, tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of my own")
    with Tracker(experiment).run("tune", {}) as parent:
        parent.log_metrics({"a": 1.0})
    client, by_name = runs_by_name(experiment, uri)
    assert by_name["tune textual_inversion"].data.metrics == {"a": 1.0}
    assert client.get_experiment_by_name("of my own")


def test_texts_become_artifacts(experiment, tracker):
    with tracker.run("compare", {}) as parent:
        parent.log_text("hello", "x.txt")
        run_id = parent.run_id
    client = mlflow.MlflowClient(tracking_uri(experiment))
    assert [artifact.path for artifact in client.list_artifacts(run_id)] == ["x.txt"]


@pytest.mark.parametrize("name", ["a&b;c=d", "[x] {y} %%", 'it\'s "q" $HOME', "日本 #1? 50%25"])
def test_the_store_lies_in_the_named_folder_and_the_printed_command_finds_it(name, tmp_path, make_experiment):
    tracker = Tracker(make_experiment(storage=str(tmp_path / name)))
    with tracker.run("tune", {}) as parent:
        parent.log_text("hello", "x.txt")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "mlflow.db").is_file()
    (written,) = (tmp_path / name).rglob("x.txt")
    assert written.read_text() == "hello"
    *command, uri = shlex.split(tracker.where_runs_are().removeprefix("browse the runs: "))
    assert command == ["mlflow", "ui", "--backend-store-uri"]
    assert [artifact.path for artifact in mlflow.MlflowClient(uri).list_artifacts(parent.run_id)] == ["x.txt"]


@pytest.mark.parametrize("query", ["", "?timeout=5"])
def test_a_sqlite_store_of_ones_own_is_made_with_its_folder(query, experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new/mine.db{query}")
    Tracker(experiment)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [".mine.db.lock", "mine.db"]
