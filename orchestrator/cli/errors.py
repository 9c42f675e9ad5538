"""How a command ends: its exit code, and errors printed as a single line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Print an InvalidInput as a line on stderr and exit with 2; exit with 130 on Ctrl-C.

    Raises:
        typer.Exit: the body raised either of them; other exceptions pass through.
    """
    from trainables.errors import InvalidInput

    try:
        yield
    except InvalidInput as error:
        _fail(str(error), WRONG_USAGE)
    except KeyboardInterrupt:
        _fail("interrupted; what was recorded is kept", INTERRUPTED)


def _fail(message: str, code: int) -> NoReturn:

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
