"""What `dvar status` and `dvar doctor` say."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.commands import doctor
from orchestrator.recordings import RecordingStore
from orchestrator.recordings.identity import RunIdentity
from orchestrator.runs import cluster as ray_cluster
from orchestrator.runs import lease
from orchestrator.storage.storage import Storage
from trainables.training.sinks import StepRow


def begun(storage, name, steps, folder="recordings"):
    identity = RunIdentity({"concept": {"name": name}, "budget": 30, "seed": 0, "method": {"name": "svdiff"}})
    recorder = RecordingStore(str(storage / folder), flush_seconds=0).recorder(identity)
    recorder.started({})
    recorder.resumed(0)
    recorder.steps([StepRow(step, 1.0, 1.0, 1.0, 0.1, 0.1, (1.0,)) for step in range(1, steps + 1)])
    return recorder


def status(storage):
    done = CliRunner().invoke(app, ["status", str(storage)], env={"COLUMNS": "150"})
    assert done.exit_code == 0, done.output
    return done.output


def test_status_tells_of_every_run(tmp_path):
    assert "there are no runs" in status(tmp_path)
    begun(tmp_path, "done", 30).ended("complete", "the budget is used up at step 30")
    begun(tmp_path, "mug", 12, "live").ended("stopped", "the criterion fired at step 12")
    begun(tmp_path, "bad", 7).ended("failed", "NonFiniteLossError: L_det became nan", "Traceback: line 1\nline 2")
    begun(tmp_path, "busy", 5)
    file = next((tmp_path / "recordings").glob("busy-*")) / "status.json"
    os.utime(file, (time.time() - 300, time.time() - 300))
    printed = status(tmp_path)
    assert "full length done svdiff complete 30/30 the budget is used up at step 30" in squeezed(printed)
    assert "live mug svdiff stopped 12/30 the criterion fired at step 12" in squeezed(printed)
    assert "bad svdiff failed 7/30 NonFiniteLossError: L_det became nan" in squeezed(printed)
    assert "busy svdiff interrupted 5/30 last written 5 min ago; the same command goes on" in squeezed(printed)
    (trace,) = [line.split(": ", 1)[1] for line in printed.splitlines() if line.startswith("traceback of bad: ")]
    assert Path(trace).read_text() == "Traceback: line 1\nline 2"
    begun(tmp_path, "bad", 7)  # it is tried again
    assert "traceback of" not in status(tmp_path)


def run_of(name):
    identity = RunIdentity({"concept": {"name": name}, "budget": 30, "seed": 0, "method": {"name": "svdiff"}})
    return {"key": identity.key, "concept": name, "method": "svdiff", "seed": 0, "budget": 30}


@pytest.mark.parametrize("folder", ["recordings", "live"])
def test_status_knows_a_driver_that_starts_trains_and_has_died(tmp_path, folder):
    kind = {"recordings": "full length", "live": "live"}[folder]
    with lease.held(Storage(str(tmp_path)), ["k"], folder=folder, runs=[run_of("dog"), run_of("cat")]):
        printed = squeezed(status(tmp_path))
        assert f"{kind} dog svdiff starting 0/30" in printed
        assert f"the driver, process {os.getpid()} on" in printed
        begun(tmp_path, "dog", 4, folder)
        printed = squeezed(status(tmp_path))
        assert "dog svdiff running 4/30" in printed
        assert "cat svdiff waiting 0/30" in printed
        (file,) = (tmp_path / "drivers").iterdir()
        left = json.loads(file.read_bytes())
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    file.write_text(json.dumps(left | {"pid": dead.pid}))
    printed = squeezed(status(tmp_path))
    assert "dog svdiff interrupted 4/30" in printed
    assert "cat" not in printed
    assert f"process {dead.pid} on" in printed
    assert "has died" in printed


def test_a_search_may_train_any_live_run(tmp_path):
    begun(tmp_path, "dog", 4, "live")
    begun(tmp_path, "cat", 4)
    with lease.held(Storage(str(tmp_path)), ["study"], folder="live"):
        printed = squeezed(status(tmp_path))
    assert "dog svdiff running 4/30" in printed
    assert "cat svdiff interrupted 4/30" in printed


def squeezed(text):
    return " ".join(text.split())


@pytest.mark.usefixtures("cluster")
def test_doctor_finds_nothing_wrong(make_experiment):
    findings = list(doctor.examine(make_experiment()))
    assert {finding.verdict for finding in findings} == {"ok"}, findings
    text = squeezed(" ".join(finding.text for finding in findings))
    for wanted in (
        version("ray"),
        "3 to tune on, 3 to test on",
        "GiB free",
        "the same on every node",
        "1 of 1 nodes",
    ):
        assert wanted in text


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("change", "about", "text"),
    [
        ({"method.name": "svdif"}, "method", "did you mean 'svdiff'"),
        ({"concepts.source": "/nowhere"}, "concepts", "/nowhere does not exist"),
        ({"base_model.id": "/nowhere"}, "base model", "/nowhere"),
        ({"storage": "/proc/x"}, "storage", "storage /proc/x cannot be written"),
        ({"resources.gpus_per_trial": 1}, "trials", "a trial of 1 CPUs and 1 GPUs fits on no node"),
    ],
)
def test_doctor_names_what_is_wrong_and_goes_on(make_experiment, change, about, text):
    experiment = make_experiment()
    for key, value in change.items():
        part, _, name = key.rpartition(".")
        inner = {name: value}
        if part:
            old = getattr(experiment, part)
            inner = {part: type(old)(**(vars(old) | inner))}
        experiment = experiment.model_copy(update=inner)
    findings = list(doctor.examine(experiment))
    assert any(finding.about == about and text in finding.text for finding in findings if finding.verdict == "wrong"), (
        findings
    )
    assert {finding.about for finding in findings} >= {"versions", "node", "trials"}


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("gpus", "verdict", "text"),
    [
        (0, "note", "uses no GPU, but the cluster has GPUs; use them with --gpus-per-trial 1"),
        (1, "ok", "a trial of 1 CPUs and 1 GPUs fits on 1 of 1 nodes"),
        (2, "wrong", "a trial of 1 CPUs and 2 GPUs fits on no node"),
    ],
)
def test_doctor_on_a_node_with_a_gpu(make_experiment, monkeypatch, gpus, verdict, text):
    nodes = [dataclasses.replace(node, gpus=1.0) for node in ray_cluster.nodes()]
    monkeypatch.setattr(ray_cluster, "nodes", lambda: nodes)
    findings = {finding.about: finding for finding in doctor.examine(make_experiment(resources__gpus_per_trial=gpus))}
    assert (findings["trials"].verdict, text in findings["trials"].text) == (verdict, True)
