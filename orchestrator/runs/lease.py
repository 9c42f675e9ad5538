"""Lease: marks that a driver works on some recordings, which keeps off a second driver with the same command."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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


@contextmanager
def held(storage: Storage, keys: Sequence[str]) -> Iterator[None]:
    """Hold the lease of some recordings while the context lasts.

    Args:
        storage: the same for every driver that may work on them.
        keys: of the recordings.

    Raises:
        InvalidInput: another live driver holds the lease; the message says where that driver runs.
    """
    name = f"drivers/{sha256(' '.join(sorted(keys)).encode()).hexdigest()[:16]}.json"
    files, mine = storage.files(), uuid4().hex
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
            if (_read(files, name) or {}).get("id") == mine:
                files.remove(name)


def _take(files: Files, name: str, mine: str) -> None:
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
    if now is not None and now["id"] != mine:
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


def _beat(files: Files, name: str, mine: str, ended: threading.Event) -> None:
    count = 0
    while not ended.wait(BEAT_SECONDS):
        count += 1
        try:
            holder = _read(files, name)
            if holder is None or holder["id"] == mine:
                _write(files, name, mine, count)
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
