"""Observers of runs, and lines on stderr: neither stands in the way of what it observes."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from orchestrator.runs.spec import Listener, RunResult, RunSpec
from orchestrator.storage.passwords import without_passwords
from trainables.text import first_line, printable
from trainables.training.report import Report


def say(text: str) -> None:
    """Print a line on stderr, if there still is one, without passwords and what steers a terminal."""
    with suppress(OSError):
        print(printable(without_passwords(text)), file=sys.stderr, flush=True)


def unobtrusive(listeners: Sequence[Listener]) -> "list[Unobtrusive]":
    """Return the listeners so that none of them can end what it follows."""
    return [listener if isinstance(listener, Unobtrusive) else Unobtrusive(listener) for listener in listeners]


class Unobtrusive:
    """A `Listener` around another; the other's first failure is a line on stderr, and it hears no more.

    Args:
        listener: what follows the runs.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener: Listener | None = listener

    def runs_started(self, specs: Sequence[RunSpec], budget: int) -> None:
        """Pass on that trials start."""
        self._pass_on(lambda listener: listener.runs_started(specs, budget))

    def run_reported(self, spec: RunSpec, report: Report) -> None:
        """Pass on a report."""
        self._pass_on(lambda listener: listener.run_reported(spec, report))

    def run_ended(self, result: RunResult) -> None:
        """Pass on the end of a run."""
        self._pass_on(lambda listener: listener.run_ended(result))

    def _pass_on(self, call: Callable[[Listener], None]) -> None:
        if self._listener is None:
            return
        try:
            call(self._listener)
        except Exception as error:  # noqa: BLE001 - a server, a terminal or a full disk: the training goes on
            name = type(self._listener).__name__
            self._listener = None
            say(f"warning: {name} failed ({first_line(error)}) and follows these runs no longer; the training goes on")
