"""What Rich prints of text from outside: the same characters, without their power."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from orchestrator.report.console.markup import escape, escape_lines
from orchestrator.report.console.tables import new_table

HARMLESS = [
    "[red]x[/]",
    "[/]",
    "[link=http://x]y",
    "a\\",
    "a\\\\",
    "\\[b]",
    "a :bomb: b",
    ":bomb::skull:",
    "[[]]",
    "12:30:01",
    "dog",
]


def printed(content):
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=200, highlight=False)
    console.print(content, soft_wrap=not isinstance(content, Table))
    return console.file.getvalue()


@pytest.mark.parametrize("text", HARMLESS)
def test_text_is_printed_as_it_is(text):
    assert printed(f"{escape(text)}!") == f"{text}!\n"
    bold = printed(f"[b]{escape(text)}[/b]!")
    assert "".join(bold.split("\x1b[1m")).replace("\x1b[0m", "") == f"{text}!\n"


@pytest.mark.parametrize("address", ["http://{}@host:5000", "postgresql://{}@host/x", "s3://{}@h/x?token=s3cret&a=:"])
def test_passwords_are_printed_nowhere(address):
    table = new_table(["where"])
    table.add_texts(address.format("me:s3cret"))
    for content in (escape(address.format("me:s3cret")), escape_lines(address.format("me:s3cret")), table):
        assert address.format("me:***").replace("s3cret", "***") in printed(content)


@pytest.mark.parametrize("text", ["\x1b[31m", "\x9b31m", "a\u202eb", "\ud800", "a\nb", "\x07", "[b]\x1b"])
def test_nothing_steers_the_terminal(text):
    for shown in (printed(escape(text)), printed(escape_lines(text.replace("\n", "")))):
        assert not set(shown) & set("\x1b\x9b\u202e\ud800\x07")
        assert shown.count("\n") == 1


@pytest.mark.parametrize("text", [*HARMLESS, "\x1b[31m", "a\u202eb", "\ud800"])
def test_a_table_shows_cells_and_headings_as_they_are(text):
    table = new_table(["name"], [text])
    table.add_texts(text, "1")
    shown = printed(table)
    assert not set(shown.replace("\x1b[1m", "").replace("\x1b[0m", "")) & set("\x1b\x9b\u202e\ud800")
    if text in HARMLESS:
        assert shown.count(text) >= 2
