"""How a command ends: its exit code, and errors printed as a single line."""

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import typer

from orchestrator.signals import first_received

FAILED, WRONG_USAGE = 1, 2
GO_ON = "what was recorded is kept, and the same command goes on from there"

#: What helps against errors of the operating system, by their number.
_REMEDIES = {
    errno.EMFILE: "raise the limit of open files (ulimit -n 65536)",
    errno.ENFILE: "close other programs: this machine has no file descriptors left",
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space there: the quota is used up",
    errno.EROFS: "make that file system writable again",
    errno.ENOMEM: "free memory, or train fewer concepts at once with --max-concurrent",
}


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Print how a command failed as a line on stderr, and exit.

    The exit code is 2 for an `InvalidInput`, 1 for what the operating system refuses, and 128 + the signal's number for
    a signal (130 for Ctrl-C).

    Raises:
        typer.Exit: the body raised one of these; other exceptions pass through.
    """
    from trainables.errors import InvalidInput

    try:
        yield
    except InvalidInput as error:
        _fail(str(error), WRONG_USAGE)
    except KeyboardInterrupt:
        number = signal.Signals(first_received())
        what = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
        _fail(f"{what}; {GO_ON}", 128 + number)
    except BrokenPipeError:
        raise  # whoever read the output has gone; typer ends without a word
    except OSError as error:
        _fail(f"{_described(error)}; then repeat the command: {GO_ON}", FAILED)
    except MemoryError:
        _fail(f"there is no memory left; {_REMEDIES[errno.ENOMEM]}; then repeat the command: {GO_ON}", FAILED)


def _described(error: OSError) -> str:
    places = [str(name) for name in (error.filename, error.filename2) if name is not None]
    text = ": ".join([*places, error.strerror or str(error) or type(error).__name__])
    return f"{text}; {_REMEDIES.get(error.errno or 0, 'look into that')}"


def _fail(message: str, code: int) -> NoReturn:
    with suppress(OSError):  # the terminal may be gone
        from orchestrator.report.console.markup import escape_lines
        from orchestrator.report.console.output import OutputConsole

        OutputConsole(stderr=True).print(f"[red]error:[/] {escape_lines(message)}", soft_wrap=True)
    raise typer.Exit(code)


def exit_with(is_good: bool) -> None:
    """End the command with exit code 1 unless all went well.

    Raises:
        typer.Exit: something went wrong.
    """
    if not is_good:
        raise typer.Exit(FAILED)
