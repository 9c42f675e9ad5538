"""Several `dvar tune` at work on the same study in a real PostgreSQL server, and a worker that is killed."""

import dataclasses
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from orchestrator.recordings.pack import write_pack
from orchestrator.storage import databases
from orchestrator.study import storage as study_storage
from orchestrator.study.storage import open_storage, open_study
from trainables.errors import InvalidInput

PROGRAMS = [shutil.which("initdb"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
INITDB = next((path for path in PROGRAMS if path), None)
USER = "postgres" if os.name == "posix" and os.geteuid() == 0 else None  # the server refuses to run as root

pytestmark = [pytest.mark.skipif(INITDB is None, reason="no PostgreSQL server is installed here"), pytest.mark.process]


@pytest.fixture(scope="module")
def server():
    """The URL of a database on a fresh server."""
    binaries = Path(os.path.realpath(INITDB)).parent
    folder = Path(tempfile.mkdtemp(prefix="dvar-postgresql-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if USER:
        shutil.chown(folder, USER)
    data = folder / "data"
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=500"

    def call(program, *arguments):
        subprocess.run([binaries / program, "-D", data, *arguments], check=True, capture_output=True, user=USER)

    call("initdb", "-A", "trust", "-U", "dvar")
    call("pg_ctl", "-w", "-l", folder / "log", "-o", options, "start")
    yield f"postgresql://dvar:secret@127.0.0.1:{port}/postgres"
    call("pg_ctl", "-w", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def tune(server, make_recording, prefork, tmp_path):
    """Start a `dvar tune` in its own process."""
    pack = tmp_path / "x.parquet"
    write_pack([of_svdiff(make_recording(name, 200, rate=10 + 5 * i)) for i, name in enumerate("abc")], pack)

    def start(trials):
        code = "from orchestrator.cli.app import app; app()"
        flags = ["--recordings", str(pack), "--trials", str(trials), "--study-storage", server, "--method", "svdiff"]
        flags += ["--objective", "mean", "--criteria", "dvar"]
        folder = tempfile.mkdtemp(dir=tmp_path)
        command = [*prefork.python, "-c", code, "tune", *flags, "--storage", folder]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return start


def of_svdiff(recording):
    return dataclasses.replace(recording, identity=recording.identity.with_fields(method={"name": "svdiff"}))


def study_at(server):
    storage = open_storage(server)
    return optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage)


def trials_of(server):
    return study_at(server).trials if optuna.get_all_study_names(open_storage(server)) else []


def test_workers_share_a_study_and_one_may_die(server, tune):
    workers = [tune(10_000), tune(60), tune(60)]  # the first one works until it is killed
    deadline = time.monotonic() + 120
    while (begun := len(trials_of(server))) < 10:
        assert time.monotonic() < deadline, workers[0].communicate()[0]
        time.sleep(0.05)
    workers[0].send_signal(signal.SIGKILL)
    printed = [worker.communicate(timeout=180)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [-signal.SIGKILL, 0, 0], printed
    complete = [trial for trial in trials_of(server) if trial.state == optuna.trial.TrialState.COMPLETE]
    assert len(complete) >= 60
    if begun < 50:
        assert len(complete) <= 62  # two may begin their last trial at the same time
    assert "secret" not in "".join(printed)
    again = tune(60).communicate(timeout=180)[0]  # a worker's own last line may miss what the other tried after it
    assert f"{len(complete)} settings on 3 tuning concepts" in again
    printed_best = next(line for line in again.splitlines() if line.startswith("best:"))
    assert float(re.search(r"needs (\S+) of 200 steps", printed_best)[1]) <= round(study_at(server).best_value, 1)
    assert len(trials_of(server)) <= len(complete) + 1  # the killed worker may have left a trial


def fresh_database(server, name):
    engine = sqlalchemy.create_engine(server.replace("://", "+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.replace("/postgres", f"/{name}")


def begin_together(urls, barrier, answers):
    for url in urls:
        barrier.wait(60)
        try:
            open_study(open_storage(url), "shared", 0, False, is_shared=True)
            answers.put("")
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            causes = []
            while error is not None:
                causes.append(repr(error))
                error = error.__cause__ or error.__context__
            answers.put(" from ".join(causes))


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_workers_that_begin_at_once_on_a_fresh_database_all_work(server, tmp_path, kind):
    rounds, workers, context = 5, 4, multiprocessing.get_context("spawn")
    if kind == "postgresql":
        urls = [fresh_database(server, f"fresh{number}") for number in range(rounds)]
    else:
        urls = [f"sqlite:///{tmp_path / f'{number}.db'}" for number in range(rounds)]
    barrier, answers = context.Barrier(workers), context.Queue()
    processes = [context.Process(target=begin_together, args=(urls, barrier, answers)) for _ in range(workers)]
    for process in processes:
        process.start()
    problems = [answers.get(timeout=120) for _ in range(rounds * workers)]
    for process in processes:
        process.join()
    assert problems == [""] * len(problems)
    assert all(optuna.get_all_study_names(open_storage(url)) == ["shared"] for url in urls)


def test_a_worker_that_hangs_while_it_makes_the_tables_is_not_waited_for_without_end(server, monkeypatch):
    url = fresh_database(server, "held")
    monkeypatch.setattr(study_storage, "TABLES_SECONDS", 1)
    begun = time.monotonic()
    with (
        study_storage._making_tables_alone(url.replace("://", "+psycopg://")),
        pytest.raises(InvalidInput, match="lock timeout"),
    ):
        open_storage(url)
    assert time.monotonic() - begun < 20
    open_storage(url)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "no-such-host.invalid:5432", "127.0.0.1:{silent}"])
def test_a_server_that_does_not_answer_costs_seconds(address, monkeypatch):
    monkeypatch.setattr(databases, "CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and says nothing
        begun = time.monotonic()
        with pytest.raises(InvalidInput, match="cannot be used") as refused:
            open_storage(f"postgresql://dvar:secret@{address.format(silent=silent.getsockname()[1])}/x")
    assert time.monotonic() - begun < 15
    assert "secret" not in str(refused.value)
