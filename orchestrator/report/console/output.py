"""The console that every command prints to: as wide as a log wants it, and without the passwords of addresses."""

import os
from typing import Any

from rich.console import Console
from rich.text import Text

from orchestrator.storage.passwords import without_passwords

#: Columns of what is not printed to a terminal, unless the variable COLUMNS says otherwise.
LOG_WIDTH = 120


class OutputConsole(Console):
    """A console that prints text as it is, but for console markup and the passwords of addresses.

    Args:
        stderr: whether it prints to standard error.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        # Without emoji: a folder may be called ":dog:".
        super().__init__(highlight=False, emoji=False, stderr=stderr)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = LOG_WIDTH

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a line of console markup as text; Rich calls this for every line that is printed."""
        return super().render_str(without_passwords(text), **options)
