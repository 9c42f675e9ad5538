"""Lease: marks that a driver works on some recordings, which keeps off a second driver with the same command.

It also says what the driver works on, so that others can tell a run that waits or trains from one that was interrupted.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

from orchestrator.storage.files import Files
from orchestrator.storage.retry import StorageFailure
from orchestrator.storage.storage import Storage
from trainables.errors import InvalidInput
from trainables.types import JsonDict

BEAT_SECONDS = 2.0
#: A driver without a heartbeat for so long counts as dead. No machine's clock is compared with another's.
DEAD_SECONDS = 12.0
FOLDER = "drivers"


@dataclass(frozen=True)
class Driver:
    """A driver that holds a lease, or died with it.

    Attributes:
        pid, host: its process, and the machine that it runs on.
        folder: in which it keeps its runs; empty if it does not say, as those of earlier versions.
        runs: what it works on: "key", "concept", "method", "seed" and "budget" of each; empty for a search, whose runs
            follow from one another.
        is_alive: whether it lives; one on another machine does if its heart beats.
    """

    pid: int
    host: str
    folder: str
    runs: tuple[JsonDict, ...]
    is_alive: bool

    def works_on(self, folder: str, key: str) -> bool:
        """Whether it lives, and may be training a run whose recording is kept in a folder."""
        is_among = not self.runs or any(run.get("key") == key for run in self.runs)
        return self.is_alive and self.folder in ("", folder) and is_among


@contextmanager
def held(storage: Storage, keys: Sequence[str], *, folder: str = "", runs: Sequence[JsonDict] = ()) -> Iterator[None]:
    """Hold the lease of some recordings while the context lasts.

    Args:
        storage: the same for every driver that may work on them.
        keys: of the recordings.
        folder, runs: what is said about the driver, see `Driver`.

    Raises:
        InvalidInput: another live driver holds the lease; the message says where that driver runs.
    """
    name = f"{FOLDER}/{sha256(' '.join(sorted(keys)).encode()).hexdigest()[:16]}.json"
    files, mine = storage.files(), _Mine(uuid4().hex, folder, tuple(runs))
    _take(files, name, mine)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(files, name, mine, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        with suppress(StorageFailure):  # the lease soon expires by itself; a failure here must not lose the results
            if (_read(files, name) or {}).get("id") == mine.id:
                files.remove(name)


def drivers(storage: Storage) -> list[Driver]:
    """Return the drivers that hold a lease in a storage, or died with it, in no particular order.

    Takes up to `DEAD_SECONDS` if only their heartbeats tell whether they live.
    """
    files = storage.files()
    names = [f"{FOLDER}/{name}" for name in files.children(FOLDER) if name.endswith(".json")]
    holders = {name: holder for name in names if (holder := _read(files, name)) is not None}
    alive = {name: _is_alive(files, name, holder) for name, holder in holders.items()}
    deadline = time.monotonic() + DEAD_SECONDS
    while None in alive.values() and time.monotonic() < deadline:
        time.sleep(BEAT_SECONDS / 4)
        for name in [name for name, answer in alive.items() if answer is None]:
            now = _read(files, name)
            if now != holders[name]:
                alive[name] = now is not None
    return [
        Driver(
            holder["pid"],
            str(holder["host"]),
            str(holder.get("folder", "")),
            tuple(run for run in holder.get("runs", ()) if isinstance(run, dict)),
            bool(alive[name]),
        )
        for name, holder in holders.items()
    ]


def _is_alive(files: Files, name: str, holder: JsonDict) -> bool | None:
    """Whether a holder lives; None if only its heartbeats can tell."""
    if _is_gone(holder):
        return False
    if holder["machine"] != _machine():
        return None
    try:  # a process of this machine may be frozen, or a later one with the same number
        return True if time.time() - files.modified(name) < DEAD_SECONDS else None
    except InvalidInput:
        return None  # it is gone, or taken over, since it was listed


@dataclass(frozen=True)
class _Mine:
    """What this driver writes into its lease besides where it runs."""

    id: str
    folder: str
    runs: tuple[JsonDict, ...]


def _take(files: Files, name: str, mine: _Mine) -> None:
    """Write our name unless another live driver has written its own.

    Raises:
        InvalidInput: another live driver holds the lease.
    """
    holder = _read(files, name)
    if holder is not None and not _is_gone(holder):
        deadline = time.monotonic() + DEAD_SECONDS
        while time.monotonic() < deadline:
            time.sleep(BEAT_SECONDS / 4)
            now = _read(files, name)
            if now is None:
                break
            if now != holder:
                _refuse(files, now)
    _write(files, name, mine, 0)
    time.sleep(BEAT_SECONDS / 4)  # a driver that began at the same moment has written by now; the last writer holds it
    now = _read(files, name)
    if now is not None and now["id"] != mine.id:
        _refuse(files, now)


def _refuse(files: Files, other: JsonDict) -> NoReturn:
    raise InvalidInput(
        f"another driver works on these recordings in {files.url}: process {other['pid']} on {other['host']}; wait "
        "until it ends, or stop it and start again"
    )


def _is_gone(holder: JsonDict) -> bool:
    """Whether the holder was a process of this machine that has ended; for other machines only silence tells."""
    if holder["machine"] != _machine():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _machine() -> str:
    """Return what process ids are unique in: the machine since its last boot, and the container's PID namespace."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(os.readlink(path) if path.endswith("/pid") else Path(path).read_text().strip())
        except OSError:
            continue
    return " ".join(parts)


def _beat(files: Files, name: str, mine: _Mine, ended: threading.Event) -> None:
    count = 0
    while not ended.wait(BEAT_SECONDS):
        count += 1
        try:
            holder = _read(files, name)
            if holder is None or holder["id"] == mine.id:
                _write(files, name, mine, count)
        except Exception:  # noqa: BLE001 - a storage that fails now and then must not end the heartbeat
            continue


def _write(files: Files, name: str, mine: _Mine, count: int) -> None:
    where = {"pid": os.getpid(), "host": socket.gethostname(), "machine": _machine()}
    text = {"id": mine.id, **where, "folder": mine.folder, "runs": mine.runs, "beat": count}
    files.write(name, json.dumps(text).encode())


def _read(files: Files, name: str) -> JsonDict | None:
    data = files.read(name)
    try:
        fields = None if data is None else json.loads(data)
        return fields if isinstance(fields, dict) and {"id", "pid", "host", "machine"} <= fields.keys() else None
    except ValueError:
        return None
