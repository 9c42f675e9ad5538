"""Lease: marks that a driver works on some recordings, which keeps off a second driver with the same command."""

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
BEAT_SECONDS = 2.0
#: A driver without a heartbeat for so long counts as dead. No machine's clock is compared with another's.
DEAD_SECONDS = 12.0


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
def held(storage: Storage, keys: Sequence[str]) -> Iterator[Lease]:
    """Hold the lease of some recordings while the context lasts.

    Args:
        storage: the same for every driver that may work on them.
        keys: of the recordings.

    Raises:
        InvalidInput: another live driver holds the lease; the message says where that driver runs.
    """
    files, mine = storage.files(), uuid4().hex
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


def _take(files: Files, group: str, mine: str) -> str:
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
    name = _new_name(group, newest, mine)
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


def _beat(files: Files, lease: Lease, mine: str, ended: threading.Event) -> None:
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


def _write(files: Files, name: str, mine: str, count: int) -> None:
    text = {"id": mine, "pid": os.getpid(), "host": socket.gethostname(), "machine": _machine(), "beat": count}
    files.write(name, json.dumps(text).encode())


def _read(files: Files, name: str) -> JsonDict | None:
    data = files.read(name)
    try:
        fields = None if data is None else json.loads(data)
        return fields if isinstance(fields, dict) and {"id", "pid", "host", "machine"} <= fields.keys() else None
    except ValueError:
        return None
