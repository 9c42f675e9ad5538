"""Commands on a real cluster of three nodes."""

import sys

import pytest


@pytest.fixture
def dvar(nodes, tiny_path, tmp_path):
    """Run a command on the head."""

    def run(*arguments, storage=tmp_path / "shared", **environment):
        values = {
            "base_model.id": tiny_path,
            "quality.scorer": tiny_path / "clip",
            "quality.every": 20,
            "quality.samples": 1,
            "quality.inference_steps": 2,
        }
        settings = [flag for key, value in values.items() for flag in ("--set", f"{key}={value}")]
        command = [sys.executable, "-c", "from orchestrator.cli import main; main()", *arguments]
        flags = ["--budget", "40", "--storage", str(storage), "--address", f"{nodes.head.address}:6379", *settings]
        process = nodes.head.run(*command, *flags, cwd=tmp_path, env=nodes.environment | environment)
        printed = process.communicate(timeout=300)[0]
        return process.returncode, printed

    return run


def test_a_storage_of_one_node_is_refused_before_anything_trains(dvar, nodes):
    code, printed = dvar("record", storage=nodes.local / "runs")
    assert code == 2, printed
    words = " ".join(printed.split())
    assert "is not shared by every node of the cluster" in words
    assert f"{nodes.nodes[1].address}: what the driver writes is not there" in words
    assert nodes.head.address not in words.split("cluster (")[1].split(")")[0]
    assert "--storage: a folder on a shared file system, or a URL such as s3://bucket/path" in words


def test_recordings_are_made_on_every_node(dvar):
    code, printed = dvar("record")
    assert code == 0, printed
    assert "6 of 6 concepts done" in printed


def test_a_wrong_token_is_refused(dvar):
    code, printed = dvar("record", RAY_AUTH_TOKEN="0" * 64)
    assert code == 2, printed
    words = " ".join(printed.split())
    assert "cannot be used" in words
    assert "RAY_AUTH_MODE with its token" in words
    assert "Traceback" not in printed
