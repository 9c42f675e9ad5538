"""Tables that lose nothing where the terminal is narrow."""

import copy
from collections.abc import Callable, Sequence
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from orchestrator.report.console.markup import plain

#: How a column's cells may be broken into lines: not at all, between words, or anywhere.
Kind = Literal["value", "words", "name"]
#: The narrowest column in which the lines of a broken name are still recognizable.
NAME_WIDTH = 8
#: Wider than any table, but not so wide that Rich's arithmetic on it takes long.
_UNLIMITED = 100_000
_AFTER_LABEL = "  "


class FittingTable(Table):
    """A table that cuts no value and breaks no number.

    Where it is too wide, the columns of words wrap between words, and those of names anywhere. Where that does not
    suffice, each row becomes a list of its cells, below one another, each with its heading.

    Args:
        compact: whether a single space separates the columns, for a table of many.
    """

    def __init__(self, *, compact: bool = False) -> None:
        padding = (0, 0 if compact else 1, 0, 0)
        super().__init__(
            header_style="bold", box=box.SIMPLE_HEAD, padding=padding, pad_edge=False, show_edge=not compact
        )
        self._names: set[int] = set()

    def add_headings(self, headings: Sequence[str], *, right: bool = False, kind: Kind = "value") -> None:
        """Add columns.

        Args:
            headings: of the columns; a newline in one is kept.
            right: whether cells are aligned to the right.
            kind: "value" is never broken, "words" only between words, and "name" anywhere.
        """
        for heading in headings:
            if kind == "name":
                self._names.add(len(self.columns))
            self.add_column(
                plain(heading), justify="right" if right else "left", no_wrap=kind == "value", overflow="fold"
            )

    def add_texts(self, *cells: str | Text, style: str = "") -> None:
        """Add a row whose text is shown as it is: brackets in a concept's name are no markup."""
        self.add_row(*(plain(cell) if isinstance(cell, str) else cell for cell in cells), style=style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table in the first of the three ways that fits; Rich calls this."""
        whole = Measurement.get(console, options.update(max_width=_UNLIMITED), self).maximum
        missing = whole - options.max_width
        if missing <= 0:
            return super().__rich_console__(console, options)
        widths = self._narrowed(missing)
        if widths is None:
            return iter([self._as_lists(options.max_width)])
        narrow = copy.copy(self)
        narrow.columns = [copy.copy(column) for column in self.columns]
        for column, width in zip(narrow.columns, widths, strict=True):
            column.width = width
        return Table.__rich_console__(narrow, console, options)

    def _narrowed(self, missing: int) -> list[int] | None:
        """Return widths of the columns that are `missing` less in sum, or None if they would break a value."""
        widths = [_widest(column, str.splitlines) for column in self.columns]
        for index, column in enumerate(self.columns):
            if column.no_wrap:
                continue
            least = _widest(column, str.split) if index not in self._names else NAME_WIDTH
            spared = min(max(widths[index] - least, 0), missing)
            widths[index] -= spared
            missing -= spared
        return None if missing else widths

    def _as_lists(self, width: int) -> Group:
        """Return every row as a list of the cells that are not empty, with a blank line between rows."""
        headings = [" ".join(_plain(column.header).split()) for column in self.columns]
        label_width = max(cell_len(heading) for heading in headings)
        columns = [list(column.cells) for column in self.columns]
        lines: list[Text | Padding] = [Text.from_markup(str(self.title), style="bold")] if self.title else []
        for index, row in enumerate(self.rows):
            lines.append(Text(""))
            for heading, cells in zip(headings, columns, strict=True):
                cell = Text.assemble(_text(cells[index]), style=row.style or "")
                if cell.plain:
                    lines += _labelled(heading, cell, label_width, width)
        lines += [Text(""), Text(str(self.caption), style="dim")] if self.caption else []
        return Group(*lines, Text(""))


def _labelled(heading: str, cell: Text, label_width: int, width: int) -> list[Text | Padding]:
    """Return a cell after its heading, or below it where a line does not take both."""
    if not heading:
        return [cell]
    if "\n" not in cell.plain and label_width + len(_AFTER_LABEL) + cell.cell_len <= width:
        space = " " * (label_width - cell_len(heading))
        return [Text.assemble((heading, "bold"), space, _AFTER_LABEL, cell)]
    return [Text(heading, style="bold"), Padding(cell, (0, 0, 0, len(_AFTER_LABEL)))]


def _widest(column: Column, parts: Callable[[str], list[str]]) -> int:
    """Return the width of the widest part of any cell of a column, or of its heading."""
    texts = [_plain(column.header), *(_plain(cell) for cell in column.cells)]
    return max((cell_len(part) for text in texts for part in parts(text)), default=0)


def _text(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def _plain(cell: object) -> str:
    return _text(cell).plain
