"""Signals end a command with a line and 128 + their number, at whatever moment they come."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.process

COMMAND = """
import sys, time
from orchestrator import signals
from orchestrator.cli.errors import errors_as_exit_codes
import typer

signals.end_on_signals()
try:
    with errors_as_exit_codes():
        try:
            print("ready", flush=True)
            {body}
        finally:
            print("cleaning", flush=True)
            time.sleep({cleaning})
            print("clean", flush=True)
except typer.Exit as end:
    sys.exit(end.exit_code)
"""
WAITING = "time.sleep(60)"
HELD = """
            with signals.held():
                time.sleep(3)
                print("held", flush=True)
            print("never", flush=True)
"""


@pytest.fixture
def command():
    started = []

    def start(body=WAITING, cleaning=0, **options):
        code = COMMAND.format(body=body, cleaning=cleaning)
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "error: interrupted; what was recorded is kept"),
        (signal.SIGTERM, 143, "error: ended by SIGTERM; what was recorded is kept"),
        (signal.SIGHUP, 129, "error: ended by SIGHUP; what was recorded is kept"),
    ],
)
def test_a_signal_ends_a_command_with_its_code_and_a_line(command, number, code, line):
    process = command()
    process.send_signal(number)
    printed, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert printed.split() == ["cleaning", "clean"]
    assert line in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_ends_it_at_once(command, second):
    process = command(cleaning=60)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(second)
    printed, errors = process.communicate(timeout=30)
    assert (process.returncode, printed) == (128 + second, "")
    assert "ended at once" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_must_not_be_interrupted_is_ended_first(command, number):
    process = command(HELD)
    time.sleep(1)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert printed.split() == ["held", "cleaning", "clean"]


def test_what_its_starter_has_it_ignore_stays_ignored(command):
    process = command("time.sleep(3)", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    printed, _ = process.communicate(timeout=30)
    assert (process.returncode, printed.split()) == (0, ["cleaning", "clean"])


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        ("OSError(24, 'Too many open files', 'a.json')", "a.json: Too many open files; raise the limit of open files"),
        ("OSError(30, 'Read-only file system', '/x')", "/x: Read-only file system; make that file system writable"),
        ("OSError(28, 'No space left on device')", "No space left on device; free space there"),
        ("FileNotFoundError(2, 'No such file or directory', 'b')", "b: No such file or directory"),
        ("MemoryError()", "no memory left"),
    ],
)
def test_what_the_system_refuses_is_a_line_and_1(command, raised, words):
    process = command(f"raise {raised}")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert words in errors
    assert "Traceback" not in errors


def test_a_terminal_that_is_gone_changes_no_code():
    """The command runs on a terminal of its own, which is closed."""
    import pty

    driver, terminal = pty.openpty()
    code = COMMAND.format(body=WAITING, cleaning=0)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    assert b"ready" in os.read(driver, 100)
    os.close(driver)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 129
