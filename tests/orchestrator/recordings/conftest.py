"""Stores of each kind, and an adapter to keep in them."""

import pytest

from orchestrator.recordings import RecordingStore


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    url = str(tmp_path / "store") if request.param == "local" else f"memory://{tmp_path.name}/store"
    return RecordingStore(url, flush_seconds=0)


@pytest.fixture
def local(tmp_path):
    return RecordingStore(str(tmp_path / "store"), flush_seconds=0)


@pytest.fixture
def adapter(tmp_path):
    folder = tmp_path / "adapter"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"abc")
    (folder / "deep" / "more.txt").write_text("x")
    return folder
