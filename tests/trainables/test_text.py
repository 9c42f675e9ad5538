"""Text from outside: nothing of it steers a terminal, and nothing harmless is changed."""

import pytest

from trainables.text import is_printable, printable, printable_lines, quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x1b]8;;http://x\x07", r"\x1b]8;;http://x\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("x\u202egpj.exe", r"x\u202egpj.exe"),
        ("\u2066a\u2069\u200f", r"\u2066a\u2069\u200f"),
        ("\ud800\udfff", r"\ud800\udfff"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\u2028\u2029\x85\x7f", r"\u2028\u2029\x85\x7f"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown
    assert not is_printable(text)
    assert is_printable(shown)


@pytest.mark.parametrize(
    "text", ["", "café", "cafe\u0301", "狗　犬", "می\u200cخواهم", "👩\u200d🚀", "[red]a\\b", "a\xa0b"]
)
def test_what_is_harmless_is_unchanged(text):
    assert printable(text) == text
    assert is_printable(text)


def test_long_text_is_cut_and_counted():
    assert printable("ab" * 10, limit=5) == "ababa... (15 more characters)"
    assert printable("abcde", limit=5) == "abcde"
    assert printable_lines("a\x1b\nb", limit=5) == "a\\x1b\nb"


@pytest.mark.parametrize(
    "value",
    [10**5000, "x" * 10**6, ["y" * 100] * 1000, {"\x1b": "\u202e"}, float("nan"), "\ud800"],
    ids=lambda value: type(value).__name__,
)
def test_values_are_quoted_in_a_short_line(value):
    assert len(quoted(value)) < 250
    assert quoted(value).isprintable()
