"""The connection to Ray: joins a running cluster, or starts one that listens on this machine alone."""

import os
import re
import resource
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from orchestrator import signals
from orchestrator.runs.observing import say
from trainables.errors import InvalidInput
from trainables.text import first_line

#: A head that lives answers in milliseconds, also on a busy machine; Ray itself tries a dead address for minutes.
ANSWER_SECONDS = 5.0
#: Ray gives its own processes 30 s to start, which a busy machine may need longer for.
START_ATTEMPTS = 3
#: With 40 open files Ray's processes do not start, with 150 they do.
FEW_FILES = 150
#: What Ray puts below its folder, at its longest, and what an address of a socket can hold.
_SOCKET, _SOCKET_BYTES = "/session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store", 107
#: Methods of Ray's node that start what a cluster of this machine alone does not need, and what is slow to import:
#: the autoscaler, the passing on of workers' output, the server of the web interface.
_SUPERFLUOUS = ("start_monitor", "start_log_monitor", "start_api_server")

#: What Ray's errors say, and the remedy; the first that matches counts.
_REMEDIES = (
    (
        r"timed out during startup|Timed out waiting for file|overloaded|Failed to start the dashboard",
        "this machine seems too busy to start it; try again once it is less so",
    ),
    (r"AF_UNIX path length", "set RAY_TMPDIR to a folder with a short path, such as /tmp"),
    (r"Permission denied|Read-only file system", "set RAY_TMPDIR to a folder that you can write, with a short path"),
    (r"No space left|Disk quota", "free space there, or set RAY_TMPDIR to a folder with a short path elsewhere"),
    (r"Too many open files", "raise the limit of open files: ulimit -n 65536"),
    (
        r"(?i)token|unauthenticated|authentication",
        "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token; a cluster without "
        "tokens needs RAY_AUTH_MODE=disabled",
    ),
    (r"Version mismatch", "install the cluster's versions of Ray and Python here, or use the cluster's own image"),
)


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Use the connected cluster, else the cluster at `address` or `RAY_ADDRESS`, else a new local cluster.

    The connection, and a cluster started here, end with the context. Signals that arrive while Ray starts take effect
    when it has: its libraries abort the process otherwise.

    Args:
        address: "host:port" of a cluster's head, or "auto" for the cluster on this machine.

    Raises:
        InvalidInput: there is no cluster at the address, it refuses the connection, or none can be started here; the
            message says how to fix that.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the recordings hold more than Tune's logs
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")  # whole tracebacks, also of what a retry puts right
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output prints tables whatever the verbosity
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it would report an interrupt as a normal end
    if is_connected():
        yield
        return
    address = wanted_address(address)
    if address:
        check_answers(address)
    import ray

    with signals.held():
        if address:
            _join(address)
        else:
            start()
    try:
        yield
    finally:
        ray.shutdown()


def is_connected() -> bool:
    """Whether this process uses a cluster already; imports nothing for it."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def wanted_address(address: str | None) -> str | None:
    """Return the address of the cluster to join: `address`, else `RAY_ADDRESS`; None to start one here.

    Raises:
        InvalidInput: it is an address for Ray Client.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address.startswith("ray://"):
        raise InvalidInput(
            f"{address} is an address for Ray Client, which is not supported; run on the cluster itself, "
            "as `ray job submit` does, or give host:port of its head"
        )
    return None if address == "local" else address or None


def check_answers(address: str) -> None:
    """Check that something listens at a cluster's address.

    Args:
        address: as `wanted_address` returns it; "auto" is left to Ray, which looks for processes of this machine.

    Raises:
        InvalidInput: it is no host:port, or nothing answers there within `ANSWER_SECONDS`.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidInput(f"{address!r} is no address of a Ray cluster; give host:port of its head, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: a host with an empty or overlong label
        raise _unusable(address, error) from error


def _join(address: str) -> None:
    import ray

    try:
        with _as_needed(is_local=False):
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray raises many kinds
        ray.shutdown()
        raise _unusable(address, error) from error


def start(**options: Any) -> None:
    """Start a cluster of this machine alone, and join it; `ray.shutdown` ends it.

    Args:
        options: further arguments of `ray.init`.

    Raises:
        InvalidInput: none can be started here; the message says how to fix that.
    """
    import ray

    # Tune's trials ask for an environment of their own: a worker that waits for them is ended unused.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    folder = temp_folder()
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            with _as_needed(is_local=True):
                ray.init(
                    address="local",
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="ERROR",
                    _temp_dir=str(folder),
                    **options,
                )
        except Exception as error:  # Ray raises many kinds
            ray.shutdown()
            is_late = re.search(_REMEDIES[0][0], _all_text(error)) is not None
            if not is_late or attempt == START_ATTEMPTS or signals.is_put_off():
                raise _unusable(None, error) from error
            say("Ray did not start in time on this busy machine; trying again")
        else:
            return


@contextmanager
def _changed(owner: Any, name: str, value: object) -> Iterator[None]:
    """Give an attribute another value while the context lasts; for what Ray has no setting for."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _as_needed(*, is_local: bool) -> Iterator[None]:
    """Keep Ray from handling signals while it starts; a cluster of our own listens on the loopback interface alone.

    Ray replaces 127.0.0.1 by an address that others reach, except where it does not support clusters of several nodes.
    What answers at another cluster's address but is not Ray is asked once, which takes 40 s, not 20 times.
    """
    from ray._private import node, ray_constants, utils

    name, value = ("ENABLE_RAY_CLUSTER", False) if is_local else ("NUM_REDIS_GET_RETRIES", 1)
    with ExitStack() as changes:
        # It would exit amid the start, and abort.
        changes.enter_context(_changed(utils, "set_sigterm_handler", lambda handler: None))
        changes.enter_context(_changed(ray_constants, name, value))
        if is_local:
            for start_process in _SUPERFLUOUS:
                changes.enter_context(_changed(node.Node, start_process, lambda node, **options: None))
        yield


def temp_folder() -> Path:
    """Return the folder for the sockets and logs of a cluster that is started here.

    It is the folder that Ray would take, if its path is short enough for sockets and if it is this user's own or can
    become so: on a shared machine /tmp/ray belongs to the user who was first. Otherwise it is one in /tmp with the
    user's number. `RAY_TMPDIR` is taken as it is, or refused.

    Raises:
        InvalidInput: there is no such folder; the message names the variable and the remedy.
    """
    if chosen := os.environ.get("RAY_TMPDIR"):
        candidates = [Path(chosen).absolute() / "ray"]
    else:
        own = Path(f"/tmp/ray-{os.getuid()}")
        candidates = [Path(os.environ.get("TMPDIR") or "/tmp").absolute() / "ray", Path("/tmp/ray"), own]
    problems = dict.fromkeys(candidates, "")
    for folder in candidates:
        problems[folder] = _problem_of_folder(folder)
        if not problems[folder]:
            return folder
    listed = "; ".join(f"{folder}: {problem}" for folder, problem in problems.items())
    raise InvalidInput(
        f"there is no folder for Ray's sockets ({listed}); set RAY_TMPDIR to a folder of your own with a short path"
    )


def _problem_of_folder(folder: Path) -> str:
    """Return why Ray cannot keep its sockets below a folder; empty if it can, and then the folder exists."""
    limit = _SOCKET_BYTES - len(_SOCKET)
    if len(os.fsencode(folder)) > limit:
        return f"its path is longer than {limit} bytes"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        return error.strerror or type(error).__name__
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a folder"
    if status.st_uid != os.getuid():
        return f"it belongs to user {status.st_uid}"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written"


def _unusable(address: str | None, error: Exception) -> InvalidInput:
    """Return the error for what Ray, or the network, said about a cluster, with the remedy for its cause."""
    text = _all_text(error)
    by_default = "check --address and RAY_ADDRESS, and that the cluster runs" if address else "see its logs"
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, text)), by_default)
    if not address:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if files < FEW_FILES:  # Ray's own processes then end without a word
            remedy = f"at most {files} files may be open at once: ulimit -n 65536"
        return InvalidInput(f"Ray on this machine cannot be started ({first_line(error)}); {remedy}")
    source = "" if os.environ.get("RAY_ADDRESS") != address else ", which RAY_ADDRESS names,"
    return InvalidInput(f"Ray at {address}{source} cannot be used ({first_line(error)}); {remedy}")


def _all_text(error: BaseException | None) -> str:
    """Return the messages of an error and of all that led to it."""
    texts = []
    while error is not None:
        texts.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    return "\n".join(texts)
