"""Lease: marks that a driver works on some recordings, which keeps off a second driver with the same command.

It also says what the driver works on, so that others can tell a run that waits or trains from one that was interrupted.
"""

import json
import os
import re
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

from orchestrator.recordings import RecordingConflict
from orchestrator.storage.files import Files
from orchestrator.storage.retry import StorageFailure
from orchestrator.storage.storage import Storage
from trainables.errors import InvalidInput
from trainables.types import JsonDict

_FOLDER = "drivers"
_FILE = re.compile(r"[0-9a-f]{16}-\d{15}-[0-9a-f]{8}\.json")
#: What a driver writes of itself, and of its runs that is no text.
_TYPES = {"id": str, "pid": int, "host": str, "machine": str}
_RUN_TYPES = {"seed": int, "budget": int}
BEAT_SECONDS = 2.0
#: A driver without a heartbeat for so long counts as dead. No machine's clock is compared with another's.
DEAD_SECONDS = 12.0


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


@dataclass
class Lease:
    """A held lease; a copy of it on a worker asks the storage whether it is still valid.

    Every driver writes a file of its own, and the one with the newest file holds the lease: a driver that was frozen
    and replaced can write nothing over what its successor wrote.

    Attributes:
        storage: where the lease is kept.
        group: what the lease is for, the beginning of its files' names.
        name: of the holder's own file.
        is_lost: whether the driver has noticed that another one took the lease over.
    """

    storage: Storage
    group: str
    name: str
    is_lost: bool = False

    def check(self) -> None:
        """Check that no other driver has taken the lease over.

        Raises:
            RecordingConflict: another driver has.
        """
        if _newest(self.storage.files(), self.group) not in (None, self.name):
            raise RecordingConflict(self.lost_message())

    def lost_message(self) -> str:
        """Return what is wrong once the lease is lost, for people."""
        return (
            f"another driver has taken over these recordings in {self.storage}, because this one was silent for more "
            f"than {DEAD_SECONDS:.0f} seconds; the other one goes on with what is stored"
        )


@contextmanager
def held(storage: Storage, keys: Sequence[str], *, folder: str = "", runs: Sequence[JsonDict] = ()) -> Iterator[Lease]:
    """Hold the lease of some recordings while the context lasts.

    Args:
        storage: the same for every driver that may work on them.
        keys: of the recordings.
        folder, runs: what is said about the driver, see `Driver`.

    Raises:
        InvalidInput: another live driver holds the lease; the message says where that driver runs.
    """
    files, mine = storage.files(), _Mine(uuid4().hex, folder, tuple(runs))
    group = sha256(" ".join(sorted(keys)).encode()).hexdigest()[:16]
    lease = Lease(storage, group, _take(files, group, mine))
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(files, lease, mine, ended), daemon=True)
    beating.start()
    try:
        yield lease
    finally:
        ended.set()
        beating.join()
        with suppress(StorageFailure):  # the lease soon expires by itself; a failure here must not lose the results
            _remove_until(files, group, lease.name)


def drivers(storage: Storage) -> list[Driver]:
    """Return the drivers that hold a lease in a storage, or died with it, in no particular order.

    Takes up to `DEAD_SECONDS` if only their heartbeats tell whether they live.
    """
    files = storage.files()
    # The files of a group sort by age, and the newest one counts.
    newest = {name.split("-")[0]: name for name in sorted(files.children(_FOLDER)) if _FILE.fullmatch(name)}
    names = [f"{_FOLDER}/{name}" for name in newest.values()]
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
            tuple(holder.get("runs", ())),
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


def _take(files: Files, group: str, mine: _Mine) -> str:
    """Write a file of our own, newer than any other, unless another live driver holds the lease; return its name.

    Raises:
        InvalidInput: another live driver holds the lease.
    """
    newest = _newest(files, group)
    holder = _read(files, newest) if newest else None
    if newest and holder is not None and not _is_gone(holder):
        deadline = time.monotonic() + DEAD_SECONDS
        while time.monotonic() < deadline:
            time.sleep(BEAT_SECONDS / 4)
            now = _newest(files, group)
            if now is None:
                break
            content = _read(files, now)
            if content is not None and (now != newest or content != holder):
                _refuse(files, content)
    name = _new_name(group, newest, mine.id)
    _write(files, name, mine, 0)
    time.sleep(BEAT_SECONDS / 4)  # a driver that began at the same moment has written by now; the newest holds it
    now = _newest(files, group)
    if now is not None and now != name:
        files.remove(name)
        if (content := _read(files, now)) is not None:
            _refuse(files, content)
    _remove_until(files, group, name, including=False)
    return name


def _new_name(group: str, newest: str | None, mine: str) -> str:
    """Return a name that sorts behind that of every driver so far, also of one on a machine whose clock is ahead."""
    last = int(newest.split("-")[1]) if newest else 0
    return f"{_FOLDER}/{group}-{max(time.time_ns() // 1_000_000, last + 1):015d}-{mine[:8]}.json"


def _names(files: Files, group: str) -> list[str]:
    """Return the files of a lease's drivers, oldest first."""
    return [f"{_FOLDER}/{name}" for name in files.children(_FOLDER) if _FILE.fullmatch(name) and name.startswith(group)]


def _newest(files: Files, group: str) -> str | None:
    return max(_names(files, group), default=None)


def _remove_until(files: Files, group: str, mine: str, *, including: bool = True) -> None:
    """Remove our own file and those of drivers before us; never that of a successor."""
    for name in _names(files, group):
        if name < mine or (including and name == mine):
            files.remove(name)


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


def _beat(files: Files, lease: Lease, mine: _Mine, ended: threading.Event) -> None:
    count = 0
    while not ended.wait(BEAT_SECONDS):
        count += 1
        try:
            if _newest(files, lease.group) not in (None, lease.name):
                lease.is_lost = True
                return
            _write(files, lease.name, mine, count)
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
    except (ValueError, RecursionError):
        return None
    return fields if _is_holder(fields) else None


def _is_holder(fields: object) -> bool:
    """Whether a file of a lease holds what a driver writes, by its types; it may come from anyone."""
    if not isinstance(fields, dict) or any(type(fields.get(name)) is not kind for name, kind in _TYPES.items()):
        return False
    runs = fields.get("runs", [])
    return (
        0 < fields["pid"] < 2**31
        and isinstance(runs, list)
        and all(isinstance(run, dict) for run in runs)
        and all(type(value) is _RUN_TYPES.get(name, str) for run in runs for name, value in run.items())
    )
