"""Scratch folders: gone at the end, and of a killed process when the next one begins."""

import os
import shutil
import signal
import stat
import subprocess
import sys

import pytest

from trainables.scratch import MARK

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


PLANTED = [
    "link to a folder",
    "link to one",
    "link to nowhere",
    "file",
    "others may write",
    "no mark",
    "a link as mark",
]


@pytest.mark.parametrize("name", ["", "-planted"])
@pytest.mark.parametrize("what", PLANTED)
def test_what_others_planted_is_neither_followed_nor_removed(start, tmp_path, what, name):
    """Where others can write: links to a victim's folder, and folders that we did not make."""
    home, planted = tmp_path / "home", tmp_path / f"dvar-scratch-{os.getuid()}{name}"
    for folder in ("thesis", "photos"):
        (home / folder).mkdir(parents=True)
        (home / folder / "years of work").write_text("x")
        (home / folder / ".lock").write_text("")
    (home / MARK).write_text("")
    if what.startswith("link to"):
        target = {"folder": home, "one": tmp_path / "second", "nowhere": tmp_path / "nowhere"}[what.split()[-1]]
        (tmp_path / "second").symlink_to(home)
        planted.symlink_to(target)
    elif what == "file":
        planted.write_text("years of work")
    else:
        shutil.copytree(home, planted)
        planted.chmod(0o777 if what == "others may write" else 0o700)
        if what != "others may write":
            (planted / MARK).unlink()
        if what == "a link as mark":
            (planted / MARK).symlink_to(home / "thesis" / "years of work")
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if not path.is_dir()}
    process, folder = start("end")
    process.wait(30)
    assert process.returncode == 0
    assert folder.parent.parent == tmp_path
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if not path.is_dir()} == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder away")
def test_a_folder_of_another_user_is_left_alone(start, tmp_path):
    theirs = tmp_path / f"dvar-scratch-{os.getuid()}-theirs"
    theirs.mkdir(mode=0o700)
    (theirs / MARK).write_text("")
    (theirs / "state").write_text("")
    os.chown(theirs, 65534, 65534)
    start("end")[0].wait(30)
    assert (theirs / "state").exists()


def test_a_folder_of_a_process_is_its_own_alone(start):
    process, folder = start("wait")
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert process.poll() is None


def test_many_that_begin_at_once_take_nothing_from_each_other(start):
    alive = [start("wait") for _ in range(6)]
    assert all((folder / "state").exists() for _, folder in alive)
