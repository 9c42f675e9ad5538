"""A real Ray cluster of three nodes on this machine, each in its own network, process and mount namespaces."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# A method that notes every trained step in a folder that all nodes share; its count is part of a checkpoint.
COUNTING = """
import os
import socket
import time
from pathlib import Path

import torch

from trainables.methods.textual_inversion import TextualInversion

NOTES = Path(os.environ["DVAR_TEST_NOTES"])


class Counting(TextualInversion):
    steps = 0

    def attach(self, base, concept, generator):
        self.notes = NOTES / concept.name
        super().attach(base, concept, generator)

    def loss(self, base, inputs):
        self.steps += 1
        with self.notes.open("a") as file:
            file.write(f"{socket.gethostname()}/{os.getpid()} {self.steps} {time.time()}\\n")
        return super().loss(base, inputs)

    def state_dict(self):
        return super().state_dict() | {"steps": torch.tensor(self.steps)}

    def load_state_dict(self, state):
        self.steps = int(state["steps"])
        super().load_state_dict({name: value for name, value in state.items() if name != "steps"})
"""

RAY = str(Path(sys.executable).parent / "ray")
BRIDGE = "dvar-bridge"


def _lacking() -> str:
    """Return what namespaces lack on this machine, or an empty text."""
    if os.name != "posix" or os.geteuid() != 0:
        return "namespaces need root"
    for program in ("ip", "unshare", "nsenter", "mount"):
        if shutil.which(program) is None:
            return f"there is no program {program!r}"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "ip", "link", "add", "probe0", "type", "veth"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"namespaces cannot be made: {tried.stderr.strip()}" if tried.returncode else ""


LACKING = _lacking()


def _ip(*arguments: str, netns: str | None = None) -> None:
    prefix = ["ip", "-n", netns] if netns else ["ip"]
    subprocess.run([*prefix, *arguments], check=True, capture_output=True, text=True)


class Node:
    """A machine: a network namespace with an address, and in it a Ray node with its own /tmp/ray and /dev/shm."""

    def __init__(self, cluster: "Cluster", index: int) -> None:
        self.name, self.address = f"{cluster.name}-n{index}", f"10.77.0.{index}"
        self._cluster, self._index = cluster, index
        self._process: subprocess.Popen[bytes] | None = None
        _ip("netns", "add", self.name)
        _ip("link", "add", f"dvp{index}", "netns", cluster.switch, "type", "veth", "peer", "eth0", "netns", self.name)
        _ip("link", "set", f"dvp{index}", "master", BRIDGE, netns=cluster.switch)
        _ip("link", "set", f"dvp{index}", "up", netns=cluster.switch)
        _ip("address", "add", f"{self.address}/24", "dev", "eth0", netns=self.name)
        for device in ("eth0", "lo"):
            _ip("link", "set", device, "up", netns=self.name)

    def start(self, cpus: int = 1) -> None:
        """Start Ray on the node; the first node is the head."""
        role = ["--head", "--port=6379", "--include-dashboard=true", f"--dashboard-host={self.address}"]
        if self._index > 1:
            role = [f"--address={self._cluster.nodes[0].address}:6379"]
        ray = [RAY, "start", *role, f"--node-ip-address={self.address}", f"--num-cpus={cpus}", "--block"]
        own = "mkdir -p /tmp/ray && mount -t tmpfs tmpfs /tmp/ray && mount -t tmpfs tmpfs /dev/shm"
        own += f" && hostname {self.name} && mount -t tmpfs tmpfs {self._cluster.local}"
        inner = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
        inner += ["sh", "-c", f'{own} && exec "$@"', "sh", *ray, "--disable-usage-stats"]
        log = self._cluster.folder / f"{self.name}.log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *inner],
                stdout=file,
                stderr=file,
                env=self._cluster.environment,
                start_new_session=True,
            )

    @property
    def _init(self) -> int:
        """The process id, as seen from here, of the first process in the node's own process namespace."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def run(self, *command: str, **options: object) -> subprocess.Popen[str]:
        """Start a program on the node."""
        enter = ["nsenter", "--target", str(self._init), "--net", "--mount", "--pid", "--uts"]
        return subprocess.Popen(
            [*enter, *command],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **{"env": self._cluster.environment} | options,
        )

    def processes(self, pattern: str) -> list[int]:
        """Return the ids, as seen from here, of the node's processes whose command line contains a pattern."""
        try:
            namespace = os.readlink(f"/proc/{self._init}/ns/pid")
        except (IndexError, OSError):
            return []  # the node has not started yet
        pids = []
        for folder in Path("/proc").iterdir():
            try:
                is_here = folder.name.isdecimal() and os.readlink(folder / "ns" / "pid") == namespace
                if is_here and pattern in (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode():
                    pids.append(int(folder.name))
            except OSError:
                continue  # it has ended since
        return pids

    def lose(self) -> None:
        """Kill every process of the node at once."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def cut_off(self) -> None:
        """Take its link down."""
        _ip("link", "set", "eth0", "down", netns=self.name)

    def reconnect(self) -> None:
        """Bring its link up again."""
        _ip("link", "set", "eth0", "up", netns=self.name)


class Cluster:
    """Three nodes and the switch between them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, f"dvar{os.getpid()}"
        self.switch, self.local = f"{self.name}-sw", folder / "local"  # each node has a `local` of its own
        self.local.mkdir()
        self.notes, plugins = folder / "notes", folder / "plugins"
        self.notes.mkdir()
        plugins.mkdir()
        temporary = folder / "tmp"
        temporary.mkdir()
        (plugins / "counting_method.py").write_text(COUNTING)
        # A proxy would answer in place of the other nodes.
        own = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self.environment = own | {
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parents[2]), str(plugins), os.environ.get("PYTHONPATH", "")]
            ),
            "DVAR_TEST_NOTES": str(self.notes),
            "TMPDIR": str(temporary),
            "RAY_TMPDIR": "/tmp",  # each node has its own /tmp/ray
            # A node that is cut off is given up after seconds instead of a minute.
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "2000",
            "RAY_health_check_failure_threshold": "4",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }
        self.nodes: list[Node] = []

    def build(self) -> None:
        """Make the switch and the nodes."""
        _ip("netns", "add", self.switch)
        _ip("link", "add", BRIDGE, "type", "bridge", netns=self.switch)
        _ip("link", "set", BRIDGE, "up", netns=self.switch)
        for index in (1, 2, 3):
            self.nodes.append(Node(self, index))

    @property
    def head(self) -> Node:
        """The node on which drivers run."""
        return self.nodes[0]

    def start(self) -> None:
        """Start Ray on every node, and wait until all are in the cluster."""
        self.head.start()
        self.wait_for(1)
        for node in self.nodes[1:]:
            node.start()
        self.wait_for(3)

    def wait_for(self, count: int, seconds: float = 60) -> None:
        """Wait until the cluster has exactly so many live nodes."""
        code = (
            "import ray; ray.init(address='auto', log_to_driver=False, logging_level='ERROR');"
            "print('alive', sum(node['Alive'] for node in ray.nodes()))"
        )
        deadline = time.monotonic() + seconds
        printed = ""
        while f"alive {count}" not in printed:
            assert time.monotonic() < deadline, f"{count} nodes never came up; last output: {printed}"
            time.sleep(0.5)
            try:
                printed = self.head.run(sys.executable, "-c", code).communicate(timeout=30)[0]
            except (OSError, IndexError, subprocess.TimeoutExpired) as error:
                printed = str(error)

    def close(self) -> None:
        """End every process and remove every namespace."""
        for node in self.nodes:
            node.lose()
        for name in (self.switch, *(f"{self.name}-n{index}" for index in (1, 2, 3))):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)

    def processes(self) -> list[str]:
        """Return the command lines of processes, on any node, that have the cluster's environment."""
        commands, mark = [], self.environment["RAY_AUTH_TOKEN"].encode()
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdecimal() and mark in (folder / "environ").read_bytes():
                    commands.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue  # it has ended since
        return commands


@pytest.fixture(scope="session")
def nodes(tmp_path_factory):
    """The cluster, started."""
    if LACKING:
        pytest.skip(LACKING)
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.build()
        cluster.start()
        yield cluster
    finally:
        cluster.close()
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    assert cluster.name not in listed
    deadline = time.monotonic() + 30
    while left := cluster.processes():  # the kernel ends a node's processes gradually
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
