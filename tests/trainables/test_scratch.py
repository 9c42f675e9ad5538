"""Scratch folders: gone at the end, and of a killed process when the next one begins."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

CODE = """
import sys, time
from trainables.scratch import make_folder, scratch_folder
with scratch_folder() as first:
    (first / "state").write_text("")
assert not first.exists()
kept = make_folder()
(kept / "state").write_text("")
print(kept, flush=True)
if sys.argv[1] == "wait":
    time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Start a process with a scratch folder; return it and the folder."""
    started = []

    def run(what):
        command = [sys.executable, "-c", CODE, what]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"TMPDIR": str(tmp_path)})
        started.append(process)
        return process, tmp_path.__class__(process.stdout.readline().strip())

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_a_folder_is_gone_with_its_process(start, tmp_path):
    process, folder = start("end")
    process.wait(30)
    assert folder.is_relative_to(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and path.parent != tmp_path]


def test_what_a_killed_process_left_is_removed_by_the_next_one_and_nothing_else(start):
    alive, kept = start("wait")
    killed, left = start("wait")
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    assert (left / "state").exists()
    start("end")[0].wait(30)
    assert not left.exists()
    assert (kept / "state").exists()
    assert alive.poll() is None
