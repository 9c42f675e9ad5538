"""Commands on a real cluster of three nodes."""

import sys

import pytest

from orchestrator.recordings import RecordingStore
from tests.distributed.conftest import RAY

pytestmark = pytest.mark.process

DVAR = [sys.executable, "-c", "from orchestrator.cli.app import main; main()"]
FEW = ["--only", "robot_1,duck_1"]


@pytest.fixture
def flags(small_flags, tmp_path):
    """Flags of a command over a few concepts."""
    return ["--budget", "40", "--storage", str(tmp_path / "shared"), *small_flags()]


@pytest.fixture
def dvar(nodes, flags, tmp_path):
    """Start a command on the head."""

    def start(*arguments, **environment):
        command = [*DVAR, *arguments, *flags, "--address", f"{nodes.head.address}:6379"]
        return nodes.head.run(*command, cwd=tmp_path, env=nodes.environment | environment)

    return start


def finish(process):
    printed = process.communicate(timeout=900)[0]
    return process.returncode, printed


def test_a_storage_of_one_node_is_refused_before_anything_trains(nodes, flags, tmp_path):
    flags[flags.index("--storage") + 1] = str(nodes.local / "runs")
    command = [*DVAR, "record", *flags, "--address", f"{nodes.head.address}:6379"]
    code, printed = finish(nodes.head.run(*command, cwd=tmp_path))
    assert code == 2, printed
    words = " ".join(printed.split())
    assert "is not shared by every node of the cluster" in words
    assert f"{nodes.nodes[1].address}: what the driver writes is not there" in words
    assert nodes.head.address not in words.split("cluster (")[1].split(")")[0]
    assert "use --storage with a folder on a shared file system, or a URL such as s3://bucket/path" in words


def test_of_two_simultaneous_drivers_the_second_is_refused(dvar, tmp_path):
    ended = sorted(finish(process) for process in [dvar("record", *FEW), dvar("record", *FEW)])
    assert [code for code, _ in ended] == [0, 2], ended
    assert "2 of 2 concepts done" in ended[0][1]
    assert "another driver works on these recordings" in " ".join(ended[1][1].split())
    rows = RecordingStore(str(tmp_path / "shared" / "recordings")).list()
    assert {(row.state, row.steps) for row in rows} == {("complete", 40)}


def test_a_submitted_job_behaves_the_same(nodes, flags, tmp_path):
    job = ["job", "submit", "--address", f"http://{nodes.head.address}:8265", "--", *DVAR, "record"]
    code, printed = finish(nodes.head.run(RAY, *job, *FEW, *flags, cwd=tmp_path))
    assert code == 0, printed
    assert "2 of 2 concepts done" in printed
    assert [row.state for row in RecordingStore(str(tmp_path / "shared" / "recordings")).list()] == ["complete"] * 2


def test_a_wrong_token_is_refused(dvar):
    code, printed = finish(dvar("record", RAY_AUTH_TOKEN="0" * 64))
    assert code == 2, printed
    words = " ".join(printed.split())
    assert "cannot be used" in words
    assert "RAY_AUTH_TOKEN" in words
    assert "Traceback" not in printed
