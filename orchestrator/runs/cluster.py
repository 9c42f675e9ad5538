"""The Ray cluster: connecting to it or starting one here, and asking each of its nodes."""

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
    """One machine of the cluster: Ray's id of it, its address, and its CPUs and GPUs."""

    id: str
    address: str
    cpus: float
    gpus: float


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Use the cluster that is connected already, the one at `address` or `RAY_ADDRESS`; else one started here.

    One that is started here ends with the context.

    Args:
        address: "host:port" of a cluster's head, or "auto" for the one on this machine.

    Raises:
        InvalidInput: there is no cluster at the address, or it refuses us.
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
            f"{address} is an address of Ray Client, which is not needed: run on the cluster itself, "
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
    """Return the nodes that are alive, by address."""
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
    """Call a function in a worker of each node; what it returns, or the exception that it raised, by node."""
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
    """Refuse a storage that is not one and the same on every node of a cluster of several.

    Args:
        storage: writable from here.

    Raises:
        InvalidInput: a node does not see what is written here, or cannot write; the message names it and the remedy.
    """
    if len(nodes()) < 2:
        return
    problems = storage_problems(storage)
    if problems:
        listed = "; ".join(f"{node.address}: {problem}" for node, problem in problems.items())
        raise InvalidInput(
            f"storage {storage} is not shared by every node of the cluster ({listed}); give one that is with "
            "--storage: a folder on a shared file system, or a URL such as s3://bucket/path"
        )


def storage_problems(storage: Storage) -> dict[Node, str]:
    """Return what is wrong with a storage, as each node sees it: what is written here must be read there.

    Raises:
        InvalidInput: it cannot be written from here.
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
    """Return what is wrong with the storage as this process sees it; nothing where it is the writer's."""
    if storage.files().read(mark) is None:
        return "what the driver writes is not there"
    try:
        RecordingStore(storage.url).check_writable()
    except InvalidInput as error:
        return str(error)
    return ""
