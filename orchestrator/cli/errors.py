"""How a command ends: exit codes, and errors as one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    from trainables.errors import InvalidInput

    try:
        yield
    except InvalidInput as error:
        _fail(str(error), WRONG_USAGE)
    except KeyboardInterrupt:
        _fail("interrupted; what was recorded is kept", INTERRUPTED)


def _fail(message: str, code: int) -> NoReturn:
    from rich.console import Console
    from rich.markup import escape

    Console(stderr=True).print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def exit_with(is_good: bool) -> None:
    if not is_good:
        raise typer.Exit(FAILED)
