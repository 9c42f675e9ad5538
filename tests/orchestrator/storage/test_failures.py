"""Storage that fails: an S3 server that answers 500, a full disk, a network file system that stumbles."""

import errno
import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
from itertools import count

import fsspec
import pytest

from orchestrator import runs
from orchestrator.recordings import RecordingStore, StorageFailure, StorageFull
from orchestrator.recordings.identity import RunIdentity
from orchestrator.storage import retry as persistence
from orchestrator.storage.storage import Storage

pytestmark = pytest.mark.process

BUDGET, EVERY = 12, 4
TESTS = count()
REFUSAL = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


class Refusing:
    """A WSGI server in front of another one that refuses a share of the requests, and counts them."""

    def __init__(self, application):
        self._application, self._random, self._lock = application, random.Random(0), threading.Lock()
        self.share, self.refused, self.served = 0.0, 0, 0

    def __call__(self, environ, start_response):
        from werkzeug.wsgi import get_input_stream

        with self._lock:
            is_refused = self._random.random() < self.share
            self.refused += is_refused
            self.served += not is_refused
        if not is_refused:
            return self._application(environ, start_response)
        get_input_stream(environ).read()  # a client that is still sending would see a lost connection instead
        start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [REFUSAL]


@pytest.fixture(scope="module")
def server():
    """A real S3 server with the bucket `bucket`, known to all clients by the environment alone."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    refusing = Refusing(DomainDispatcherApplication(create_backend_app))
    listening = make_server("127.0.0.1", 0, refusing, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listening.server_port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")  # the client's own tries would hide what is tested here
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        for own in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(own, raising=False)
        files = fsspec.filesystem("s3")
        files.mkdir("bucket")
        yield refusing
        fsspec.get_filesystem_class("s3").clear_instance_cache()
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def s3(server, request):
    """A URL of this test's own on the S3 server, which refuses nothing yet."""
    yield f"s3://bucket/{next(TESTS)}-{request.function.__name__}"
    server.share = 0.0


@pytest.fixture
def short_pauses(monkeypatch):
    """As many tries as pass one time in five even over hundreds of requests, and no waiting between them."""
    monkeypatch.setattr(persistence, "PAUSES", (0.001,) * 9)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def plan(tiny_path, one_thread):
    """A short run with three snapshots on its way, and a report and a checkpoint every third step."""
    from trainables.methods import MethodSpec
    from trainables.settings import BaseModelSettings, QualitySettings
    from trainables.training.config import RunConfig

    quality = QualitySettings(samples=1, inference_steps=2, every=EVERY, scorer=str(tiny_path / "clip"))
    base_model, method = BaseModelSettings(id=str(tiny_path)), MethodSpec("trainables.methods.textual_inversion", {})
    return RunConfig(base_model, method, BUDGET, quality=quality, report_steps=3, checkpoint_seconds=0)


@pytest.fixture(scope="module")
def train(plan, toy_concepts):
    """Train the run into a store from wherever it is there, to its end or until it fails; call `between` each time."""
    from trainables.training.run import Models, TrainingRun

    models = Models.load(plan)

    def train(store, between=lambda step: None):
        session = TrainingRun(models, plan, toy_concepts[0], store.recorder(identity(toy_concepts[0].name)))
        try:
            while session.state == "running":
                between(session.advance().step)
        finally:
            session.close()

    return train


@pytest.fixture(scope="module")
def name(toy_concepts):
    """The name of the concept that `train` learns."""
    return toy_concepts[0].name


@pytest.fixture(scope="module")
def undisturbed(train, name, tmp_path_factory):
    """What the run gives on a sound local disk."""
    store = RecordingStore(str(tmp_path_factory.mktemp("undisturbed")), flush_seconds=0)
    train(store)
    return contents(store, name)


def identity(name):
    return RunIdentity({"concept": {"name": name}, "budget": BUDGET, "seed": 0})


def contents(store, name):
    """Everything of a recording that does not depend on time: state, series, scores, and the bytes of its adapters."""
    recording = store.find(identity(name))
    folders = {step: store.snapshot_folder(recording.key, step) for step in recording.quality.steps.tolist()}
    return (
        recording.state,
        [getattr(recording.steps, name).tolist() for name in ("l_det", "train_loss", "grad_norm", "input_losses")],
        {name: scores.tolist() for name, scores in recording.quality.scores.items()},
        {
            (step, path.relative_to(folder).as_posix()): path.read_bytes()
            for step, folder in folders.items()
            for path in sorted(folder.rglob("*"))
        },
    )


def objects():
    """All that the S3 server holds."""
    return fsspec.filesystem("s3").find("bucket")


def series(store, name):
    return store.find(identity(name)).steps.l_det.tolist()


def test_one_refusal_in_five_changes_nothing(server, s3, short_pauses, train, name, undisturbed):
    store = RecordingStore(s3, flush_seconds=0)
    server.share, before = 0.2, (server.refused, server.served)
    train(store)
    recorded_contents = contents(store, name)
    refused, served = server.refused - before[0], server.served - before[1]
    assert recorded_contents == undisturbed
    assert 0.1 < refused / (refused + served) < 0.3
    assert len(recorded_contents[3]) >= 2 * (1 + BUDGET // EVERY)  # adapter and samples of each snapshot


def test_checkpoints_too_survive_refusals(server, s3, short_pauses, train, name, undisturbed):
    class EndedHere(Exception):
        pass

    def end(step):
        if step >= 6:
            raise EndedHere

    store = RecordingStore(s3, flush_seconds=0)
    server.share = 0.2
    with pytest.raises(EndedHere):
        train(store, end)
    assert store.state(identity(name)) == "running"
    train(store)
    assert contents(store, name) == undisturbed


def test_a_server_that_refuses_all_is_a_clear_failure_and_what_was_stored_goes_on(
    server, s3, short_pauses, train, name, undisturbed
):
    def refuse(step):
        server.share = float(step >= 6)

    store = RecordingStore(s3, flush_seconds=0)
    begun = time.monotonic()
    with pytest.raises(StorageFailure) as failure:
        train(store, refuse)
    assert time.monotonic() - begun < 60
    with pytest.raises(StorageFailure, match=f"storage {s3}.* cannot be read, tried 10 times"):
        store.find(identity(name))
    message = str(failure.value)
    assert message.startswith(f"storage {store.folder(identity(name))} cannot be ")
    assert "tried 10 times" in message
    assert "internal error" in message
    assert "once the storage responds again, repeat the same command" in message
    server.share = 0.0
    assert store.state(identity(name)) == "running"
    assert series(store, name) == undisturbed[1][0][: len(series(store, name))]
    assert len(series(store, name)) >= 6
    train(store)
    assert contents(store, name) == undisturbed


def test_a_storage_that_refuses_from_the_start_is_named(server, s3, short_pauses):
    server.share = 1.0
    with pytest.raises(StorageFailure, match=f"storage {s3} cannot be written, tried 10 times"):
        RecordingStore(s3).check_writable()


def test_a_bucket_that_is_not_there_is_not_tried_again(server, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited for what never comes"))
    with pytest.raises(StorageFailure, match=r"s3://mistyped cannot be written .*bucket does not exist\); .*--storage"):
        RecordingStore("s3://mistyped").check_writable()
    assert fsspec.filesystem("s3").ls("") == ["bucket"]


@pytest.mark.parametrize("free", [0, 30_000, 60_000])
def test_a_full_disk_ends_the_run_and_what_was_stored_goes_on(small_disk, train, name, undisturbed, free, monkeypatch):
    """Whatever it is that does not fit any more: a table, a snapshot or a checkpoint."""
    filler = small_disk / "filler"

    def fill(step):
        if step == 6:
            space = os.statvfs(small_disk)
            filler.write_bytes(bytes(max(0, space.f_bavail * space.f_frsize - free)))

    store = RecordingStore(str(small_disk / "store"), flush_seconds=0)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited for space"))
    with pytest.raises(StorageFull) as failure:
        train(store, fill)
    assert f"storage {store.folder(identity(name))} cannot be written" in str(failure.value)
    assert "No space left on device); free space there, then repeat the same command" in str(failure.value)
    assert not list(small_disk.rglob("*partial*"))
    assert len(list(small_disk.glob("store/*/checkpoint/*"))) == 1
    stored = series(store, name)
    assert stored == undisturbed[1][0][: len(stored)]
    assert len(stored) >= 6
    filler.unlink()
    train(store)
    assert contents(store, name) == undisturbed


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
    monkeypatch.setattr(persistence, "PAUSES", (0.0, 0.0))
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

    def stumble(source, target):
        if len(waited) < 2:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        replace(source, target)

    monkeypatch.setattr(os, "replace", stumble)
    files = Storage(str(tmp_path)).files()
    files.write("deep/x", b"new")
    assert files.read("deep/x") == b"new"
    assert files.children("deep") == ["x"]
    assert waited == [*persistence.PAUSES[:2]]
    assert sorted(persistence.PAUSES) == [*persistence.PAUSES]


def test_a_storage_that_cannot_take_a_failure_down_does_not_hide_it(tmp_path, monkeypatch):
    """Whoever ends a recording as failed raises the reason; any other end must be stored."""
    monkeypatch.setattr(persistence, "PAUSES", ())
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


DRIVER = """
import sys
from orchestrator.recordings.identity import RunIdentity
from orchestrator import runs
from orchestrator.config.experiment import Experiment
from trainables.miniature.concepts import load

(ended,) = runs.record(Experiment.model_validate_json(sys.argv[1]), load([sys.argv[2]]))
print(ended.state, ended.reason)
"""


def test_a_whole_run_on_object_storage_that_refuses_one_request_in_five(server, s3, recorded, monkeypatch):
    """Ray's own storage lies below the same URL; the series is that of the local disk."""
    import ray

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")  # the client's default; the cluster may have inherited ours
    experiment, (concept, _), (expected, _) = recorded
    resources = experiment.resources.model_copy(update={"checkpoint_seconds": 60.0})
    experiment = experiment.model_copy(update={"storage": s3, "budget": 10, "resources": resources})
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    # A job of its own on the cluster, so that its workers know the server: as `ray job submit --runtime-env-json` does.
    job = json.dumps({"runtime_env": {"env_vars": aws}})
    environment = os.environ | {
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address, "RAY_JOB_CONFIG_JSON_ENV_VAR": job,
    }  # fmt: skip
    server.share, before = 0.2, server.refused
    command = [sys.executable, "-c", DRIVER, experiment.model_dump_json(), concept.name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    server.share = 0.0
    assert done.stdout.startswith("complete "), done.stdout + done.stderr
    assert server.refused > before
    (spec,) = runs.run_specs(experiment, [concept])
    recording = runs.recordings(experiment).find(spec.identity)
    assert recording.steps.l_det.tolist() == expected.steps.l_det[: experiment.budget].tolist()
    assert fsspec.filesystem("s3").ls(f"{s3}/ray")
