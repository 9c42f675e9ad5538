"""The Ray cluster: connects to a running cluster or starts a local one, and calls functions on each node."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar
from uuid import uuid4

from orchestrator.recordings import RecordingStore
from orchestrator.storage.storage import Storage
from trainables.errors import InvalidInput
from trainables.text import first_line

PROBE_SECONDS = 60.0

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


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Use the connected cluster, else the cluster at `address` or `RAY_ADDRESS`, else a new local cluster.

    The connection, and a cluster started here, end with the context.

    Args:
        address: "host:port" of a cluster's head, or "auto" for the cluster on this machine.

    Raises:
        InvalidInput: there is no cluster at the address, or it refuses the connection.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the recordings hold more than Tune's logs
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output prints tables whatever the verbosity
    import ray

    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address.startswith("ray://"):
        raise InvalidInput(
            f"{address} is an address for Ray Client, which is not supported; run on the cluster itself, "
            "as `ray job submit` does, or give host:port of its head"
        )
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        else:
            ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray raises many kinds
        raise InvalidInput(
            f"Ray at {address or 'this machine'} cannot be used ({first_line(error)}); check --address, RAY_ADDRESS, "
            "and RAY_AUTH_MODE with its token"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


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
