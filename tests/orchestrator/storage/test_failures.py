"""Runs whose storage fails on the way: an S3 server that answers 500, a disk that fills up."""

import json
import os
import subprocess
import time

import fsspec
import pytest

from orchestrator import runs
from orchestrator.recordings import RecordingStore, StorageFailure, StorageFull
from orchestrator.recordings.identity import RunIdentity

pytestmark = pytest.mark.process

BUDGET, EVERY = 12, 4


@pytest.fixture(scope="module")
def config(tiny_path, one_thread):
    """A short run with three snapshots on its way, and a report and a checkpoint every third step."""
    from trainables.methods import MethodSpec
    from trainables.settings import BaseModelSettings, QualitySettings
    from trainables.training.config import RunConfig

    quality = QualitySettings(samples=1, inference_steps=2, every=EVERY, scorer=str(tiny_path / "clip"))
    base_model, method = BaseModelSettings(id=str(tiny_path)), MethodSpec("trainables.methods.textual_inversion", {})
    return RunConfig(base_model, method, BUDGET, quality=quality, report_steps=3, checkpoint_seconds=0)


@pytest.fixture(scope="module")
def train(config, toy_concepts):
    """Train the run into a store from wherever it is there, to its end or until it fails; call `between` each time."""
    from trainables.training.run import Models, TrainingRun

    models = Models.load(config)

    def train(store, between=lambda step: None):
        run = TrainingRun(models, config, toy_concepts[0], store.recorder(identity(toy_concepts[0].name)))
        try:
            while run.state == "running":
                between(run.advance().step)
        finally:
            run.close()

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


DRIVER = """
import sys
from orchestrator.recordings.identity import RunIdentity
from orchestrator import runs
from orchestrator.config.experiment import Experiment
from trainables.miniature.concepts import load

(ended,) = runs.record(Experiment.model_validate_json(sys.argv[1]), load([sys.argv[2]]))
print(ended.state, ended.reason)
"""


def test_a_whole_run_on_object_storage_that_refuses_one_request_in_five(server, s3, recorded, prefork, monkeypatch):
    """Ray's own storage lies below the same URL; the series is that of the local disk."""
    import ray

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")  # the client's default; the cluster may have inherited ours
    experiment, (concept, _), (expected, _) = recorded
    resources = experiment.resources.model_copy(update={"checkpoint_seconds": 60.0})
    experiment = experiment.model_copy(update={"storage": s3, "budget": 10, "resources": resources})
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    # A job of its own on the cluster, so that its workers know the server: as `ray job submit --runtime-env-json` does.
    job = json.dumps({"runtime_env": {"env_vars": aws} | prefork.runtime_env})
    # The tests' cluster listens on the loopback interface alone, which Ray believes only where clusters have one node.
    port = ray.get_runtime_context().gcs_address.rpartition(":")[2]
    alone = {"RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    environment = os.environ | alone | {"RAY_JOB_CONFIG_JSON_ENV_VAR": job}
    server.share, before = 0.2, server.refused
    command = [*prefork.python, "-c", DRIVER, experiment.model_dump_json(), concept.name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    server.share = 0.0
    assert done.stdout.startswith("complete "), done.stdout + done.stderr
    assert server.refused > before
    (spec,) = runs.run_specs(experiment, [concept])
    recording = runs.recordings(experiment).find(spec.identity)
    assert recording.steps.l_det.tolist() == expected.steps.l_det[: experiment.budget].tolist()
    assert fsspec.filesystem("s3").ls(f"{s3}/ray")
