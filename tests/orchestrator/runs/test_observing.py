"""Observers that fail end nothing: a line says so, and they hear no more."""

import pytest

from orchestrator.recordings.identity import RunIdentity
from orchestrator.runs.observing import say, unobtrusive
from orchestrator.runs.spec import RunResult, RunSpec
from trainables.training.report import Report

SPEC = RunSpec("dog", None, RunIdentity({"concept": {"name": "dog"}, "budget": 40}))
REPORT = Report(1, 1, (1.0,), "running")
CALLS = {
    "runs_started": ([SPEC], 40),
    "run_reported": (SPEC, REPORT),
    "run_ended": (RunResult(SPEC, "complete", 40, "", True),),
}


class Failing:
    """Counts what it hears, and fails at one kind of call."""

    def __init__(self, at, error=None):
        self.heard = []
        for name in CALLS:
            setattr(self, name, lambda *arguments, name=name: self.hear(name, at, error))

    def hear(self, name, at, error):
        self.heard.append(name)
        if name == at:
            raise error or OSError("the server is gone")


@pytest.mark.parametrize("at", list(CALLS))
def test_a_failure_is_a_line_and_the_end_of_that_observer_alone(at, capfd):
    failing, sound = Failing(at), Failing(None)
    listeners = unobtrusive([failing, sound])
    assert unobtrusive(listeners) == listeners
    for name, arguments in list(CALLS.items()) * 2:
        for listener in listeners:
            getattr(listener, name)(*arguments)
    assert failing.heard == list(CALLS)[: list(CALLS).index(at) + 1]
    assert sound.heard == list(CALLS) * 2
    printed = capfd.readouterr().err
    assert printed.count("\n") == 1
    assert "Failing failed (the server is gone)" in printed


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_what_ends_the_process_passes(error):
    (listener,) = unobtrusive([Failing("run_ended", error)])
    with pytest.raises(type(error)):
        listener.run_ended(*CALLS["run_ended"])


def test_a_line_holds_no_password_and_steers_no_terminal(capfd):
    say("API request to http://me:s3cret@host:1/x failed: \x1b[31m")
    assert capfd.readouterr().err == "API request to http://me:***@host:1/x failed: \\x1b[31m\n"


def test_a_line_for_a_full_disk_is_no_error(monkeypatch):
    full = Full()
    monkeypatch.setattr("sys.stderr", full)
    say("hello")
    assert full.tried


class Full:
    """A stream to a disk without space."""

    tried = False

    def write(self, text):
        self.tried = True
        raise OSError(28, "No space left on device")

    def flush(self):
        pass
