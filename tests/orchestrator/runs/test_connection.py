"""The connection to Ray: dead addresses cost seconds, sockets find a place, and each cause has its remedy."""

import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from orchestrator.runs import connection
from trainables.errors import InvalidInput


@pytest.fixture
def dead_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "no-such-host.invalid"])
def test_a_dead_address_is_named_within_seconds(monkeypatch, dead_port, host):
    address = f"{host}:{dead_port}"
    monkeypatch.setattr(connection, "is_connected", lambda: False)  # another file's cluster may run in this process
    begun = time.monotonic()
    with pytest.raises(InvalidInput, match=f"Ray at {address} cannot be used .*check --address and RAY_ADDRESS"):
        connection.check_answers(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InvalidInput, match=f"{address}, which RAY_ADDRESS names"):
        connection.connected().__enter__()
    assert time.monotonic() - begun < 2 * connection.ANSWER_SECONDS + 2
    assert "RAY_USAGE_STATS_ENABLED" in os.environ


@pytest.mark.parametrize("address", ["nonsense", "host:", ":6379", "host:many", "host:99999", "host:-1"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InvalidInput, match="is no address of a Ray cluster"):
        connection.check_answers(address)


@pytest.mark.parametrize(
    ("given", "wanted"), [(None, None), ("", None), ("local", None), ("auto", "auto"), ("h:1", "h:1")]
)
def test_which_address_counts(monkeypatch, given, wanted):
    assert connection.wanted_address(given) == wanted
    monkeypatch.setenv("RAY_ADDRESS", given or "")
    assert connection.wanted_address(None) == wanted
    with pytest.raises(InvalidInput, match="Ray Client"):
        connection.wanted_address("ray://h:1")


@pytest.fixture
def short(monkeypatch):
    """A folder with a short path, in place of the variables."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        yield Path(folder)


def test_a_short_folder_of_ones_own_is_taken(short, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(short))
    assert connection.temp_folder() == short / "ray"
    assert stat.S_IMODE((short / "ray").stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["long", "file", "link", "missing parent that cannot be made"])
def test_another_place_is_taken_where_this_one_will_not_do(short, monkeypatch, kind):
    folder = short
    if kind == "long":
        folder = short / ("x" * 60)
    elif kind == "file":
        (short / "ray").write_text("")
    elif kind == "link":
        (short / "victim").mkdir()
        (short / "ray").symlink_to(short / "victim")
    else:
        folder = Path("/proc/nowhere")
    monkeypatch.setenv("TMPDIR", str(folder))
    chosen = connection.temp_folder()
    assert chosen in (Path("/tmp/ray"), Path(f"/tmp/ray-{os.getuid()}"))
    assert chosen.stat().st_uid == os.getuid()
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    with pytest.raises(InvalidInput, match="set RAY_TMPDIR to a folder of your own with a short path"):
        connection.temp_folder()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders away")
def test_another_users_folder_is_not_used(short, monkeypatch):
    (short / "ray").mkdir()
    os.chown(short / "ray", 12345, 12345)
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    with pytest.raises(InvalidInput, match=r"it belongs to user 12345.*RAY_TMPDIR"):
        connection.temp_folder()


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("The current node timed out during startup. This could happen because ...", "busy"),
        ("AF_UNIX path length cannot exceed 107 bytes: /very/long", "RAY_TMPDIR"),
        ("[Errno 13] Permission denied: '/tmp/ray/session'", "RAY_TMPDIR"),
        ("Token authentication is enabled but no authentication token was found.", "RAY_AUTH_TOKEN"),
        ("Version mismatch: The cluster was started with: Ray: 2.40.0", "versions"),
        ("[Errno 24] Too many open files", "ulimit"),
        ("something that nobody has seen", "logs"),
    ],
)
def test_every_cause_has_its_remedy(text, remedy):
    """The texts are those of Ray 2.60."""
    error = RuntimeError("Ray failed")
    error.__cause__ = OSError(text)
    described = str(connection._unusable(None, error))
    assert remedy in described.partition("; ")[2]
    assert remedy == "RAY_AUTH_TOKEN" or "RAY_AUTH" not in described


ALONE = """
import os, ray
from orchestrator.runs.connection import connected
with connected():
    @ray.remote
    def worker():
        return os.getpid()
    ray.get(worker.remote())
    print("ready", ray.nodes()[0]["NodeManagerAddress"], flush=True)
    input()
"""


@pytest.mark.ray
@pytest.mark.process
def test_a_cluster_of_our_own_listens_on_loopback_alone(short):
    """Every listening socket of the driver and of all processes that it started."""
    environment = os.environ | {"RAY_TMPDIR": str(short)}
    with subprocess.Popen(
        [sys.executable, "-c", ALONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as driver:
        assert driver.stdout.readline().split() == ["ready", "127.0.0.1"]
        addresses = [address for pid in family(driver.pid) for address in listening(pid)]
        driver.communicate("\n", timeout=60)
    assert len(addresses) >= 5
    assert {address for address in addresses if not is_loopback(address)} == set()


def family(pid):
    """The process and all its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    members, rest = {pid}, set(parents)
    while more := {child for child in rest - members if parents[child] in members}:
        members |= more
    return members


def listening(pid):
    """The hexadecimal addresses at which a process listens."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            inodes |= set(re.findall(r"socket:\[(\d+)\]", os.readlink(link)))
        except OSError:
            continue
    rows = [
        row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return [row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes]


def is_loopback(address):
    return address in ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
