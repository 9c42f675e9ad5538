"""The nodes of the connected Ray cluster: which there are, what fits on them, and what each of them sees."""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import uuid4

from orchestrator.config.experiment import Resources
from orchestrator.recordings import RecordingStore
from orchestrator.storage.storage import Storage
from trainables.errors import InvalidInput
from trainables.text import first_line

PROBE_SECONDS = 60.0
#: How long an autoscaler may take to bring a node; one with a GPU takes 5 to 10 minutes in most clouds.
NODE_SECONDS = 900.0
#: What Ray's cluster launcher leaves on the head, by which Tune goes, too; what KubeRay sets in pods.
LAUNCHER_FILE, AUTOSCALER_VARIABLE = "~/ray_bootstrap_config.yaml", "RAY_enable_autoscaler_v2"

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Node:
    """A machine of the cluster.

    Attributes:
        id: Ray's own, in hexadecimal.
        address: IP address or host name.
        cpus, gpus: logical ones, as Ray counts them.
    """

    id: str
    address: str
    cpus: float
    gpus: float


def nodes() -> list[Node]:
    """Return the nodes that are alive, sorted by address."""
    import ray

    alive = [
        Node(
            node["NodeID"], node["NodeManagerAddress"], node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0)
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    return sorted(alive, key=lambda node: node.address)


def fitting(nodes: Sequence[Node], resources: Resources) -> list[Node]:
    """Return the nodes on which a trial fits."""
    return [node for node in nodes if node.cpus >= resources.cpus_per_trial and node.gpus >= resources.gpus_per_trial]


def trial_text(resources: Resources) -> str:
    """Return what a trial needs, in words."""
    return f"a trial of {resources.cpus_per_trial:g} CPUs and {resources.gpus_per_trial:g} GPUs"


def check_fits(resources: Resources, say: Callable[[str], None]) -> None:
    """Check that a trial fits on a node; Tune would leave it pending for ever, without a word.

    Where an autoscaler may still bring a node, ask for one and wait; see `Resources.node_wait_seconds`.

    Args:
        resources: of a trial, and how long to wait.
        say: is called with a line before the wait.

    Raises:
        InvalidInput: it fits on no node, also after the wait.
    """
    patience = resources.node_wait_seconds
    if patience is None:
        patience = NODE_SECONDS if _may_scale() else 0
    if not fitting(nodes(), resources) and patience:
        say(f"{trial_text(resources)} fits on no node yet; waiting up to {patience:g} s for the autoscaler to add one")
        _await_node(resources, patience)
    if not fitting(nodes(), resources):
        listed = ", ".join(f"{node.address}: {node.cpus:g} CPUs, {node.gpus:g} GPUs" for node in nodes())
        waited = f", nor did one appear in {patience:g} s" if patience else ""
        raise InvalidInput(
            f"{trial_text(resources)} fits on no node ({listed}){waited}; use a smaller --gpus-per-trial or "
            "resources.cpus_per_trial, or add a node"
        )


def _await_node(resources: Resources, patience: float) -> None:
    """Ask the autoscaler for a node on which a trial fits, and wait until there is one or patience ends."""
    from ray.autoscaler.sdk import request_resources

    wanted = {"CPU": math.ceil(resources.cpus_per_trial), "GPU": math.ceil(resources.gpus_per_trial)}
    deadline = time.monotonic() + patience
    request_resources(bundles=[{name: count for name, count in wanted.items() if count}])
    try:
        while not fitting(nodes(), resources) and time.monotonic() < deadline:
            time.sleep(1)
    finally:
        request_resources(bundles=[])  # from now on the trials themselves are the demand


def _may_scale() -> bool:
    """Whether the cluster has an autoscaler, as far as the head says: Ray's launcher and KubeRay leave these marks."""
    has_second_version = os.environ.get(AUTOSCALER_VARIABLE, "") not in ("", "0", "false")
    return has_second_version or Path(LAUNCHER_FILE).expanduser().exists()


def on_every_node(function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> dict[Node, T | Exception]:
    """Call a function in a worker on each node.

    Args:
        function: what to call; it must be picklable.
        arguments, keywords: its arguments.

    Returns:
        For each node the function's return value, or the error: what the function raised, a lost node, or no answer
        within `PROBE_SECONDS`.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(function)
    asked = {}
    for node in nodes():
        here = NodeAffinitySchedulingStrategy(node.id, soft=False)
        asked[node] = task.options(scheduling_strategy=here).remote(*arguments, **keywords)
    answers: dict[Node, T | Exception] = {}
    for node, reference in asked.items():
        try:
            answers[node] = ray.get(reference, timeout=PROBE_SECONDS)
        except ray.exceptions.RayError as error:  # what the function raised, a lost node, or no answer in time
            answers[node] = error
    return answers


def check_storage(storage: Storage) -> None:
    """Check that every node of the cluster sees the same storage; a single node needs no check.

    Args:
        storage: writable from here.

    Raises:
        InvalidInput: a node does not see what is written here, or cannot write; the message names the node and the
            remedy.
    """
    if len(nodes()) < 2:
        return
    problems = storage_problems(storage)
    if problems:
        listed = "; ".join(f"{node.address}: {problem}" for node, problem in problems.items())
        raise InvalidInput(
            f"storage {storage} is not shared by every node of the cluster ({listed}); use --storage with "
            "a folder on a shared file system, or a URL such as s3://bucket/path"
        )


def storage_problems(storage: Storage) -> dict[Node, str]:
    """Return the problem of each node that cannot read what is written here, or cannot write itself.

    Raises:
        InvalidInput: the storage cannot be written from here.
    """
    RecordingStore(storage.url).check_writable()
    files, mark = storage.files(), f".probe-{uuid4().hex}"
    files.write(mark, b"")
    try:
        answers = on_every_node(_problem, storage, mark)
    finally:
        files.remove(mark)
    return {
        node: first_line(answer) if isinstance(answer, Exception) else answer
        for node, answer in answers.items()
        if answer
    }


def _problem(storage: Storage, mark: str) -> str:
    """Return the problem with the storage as this process sees it; empty if it reads the driver's mark."""
    if storage.files().read(mark) is None:
        return "what the driver writes is not there"
    try:
        RecordingStore(storage.url).check_writable()
    except InvalidInput as error:
        return str(error)
    return ""
