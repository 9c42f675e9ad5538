"""Storages that fail: an S3 server that refuses requests, and a disk that is soon full."""

import logging
import os
import random
import subprocess
import threading
from itertools import count

import fsspec
import pytest

from orchestrator.recordings import RecordingStore
from orchestrator.storage import retry

TESTS = count()
REFUSAL = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


class Refusing:
    """A WSGI server in front of another one that refuses a share of the requests, and counts them."""

    def __init__(self, application):
        self._application, self._random, self._lock = application, random.Random(0), threading.Lock()
        self.share, self.refused, self.served = 0.0, 0, 0

    def __call__(self, environ, start_response):
        from werkzeug.wsgi import get_input_stream

        with self._lock:
            is_refused = self._random.random() < self.share
            self.refused += is_refused
            self.served += not is_refused
        if not is_refused:
            return self._application(environ, start_response)
        get_input_stream(environ).read()  # a client that is still sending would see a lost connection instead
        start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [REFUSAL]


@pytest.fixture(scope="module")
def server():
    """A real S3 server with the bucket `bucket`, known to all clients by the environment alone."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    refusing = Refusing(DomainDispatcherApplication(create_backend_app))
    listening = make_server("127.0.0.1", 0, refusing, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listening.server_port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")  # the client's own tries would hide what is tested here
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        for own in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(own, raising=False)
        files = fsspec.filesystem("s3")
        files.mkdir("bucket")
        yield refusing
        files.rm("bucket", recursive=True)  # the server's memory is the process's: the next one would find it
        fsspec.get_filesystem_class("s3").clear_instance_cache()
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def s3(server, request):
    """A URL of this test's own on the S3 server, which refuses nothing yet."""
    yield f"s3://bucket/{next(TESTS)}-{request.function.__name__}"
    server.share = 0.0


@pytest.fixture
def short_pauses(monkeypatch):
    """As many tries as pass one time in five even over hundreds of requests, and no waiting between them."""
    monkeypatch.setattr(retry, "PAUSES", (0.001,) * 9)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def local(tmp_path):
    """A local store of recordings."""
    return RecordingStore(str(tmp_path / "store"), flush_seconds=0)


@pytest.fixture
def adapter(tmp_path):
    """A folder with what a method exports."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights.bin").write_bytes(b"abc")
    return tmp_path / "adapter"
