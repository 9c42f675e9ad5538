"""Words for messages and names: a hint at what was meant, an error's best line, safe text, one form of a name."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

#: If there are more choices than these, only the probable choice is named.
FEW = 12
#: Most characters of a value that a message quotes, and of a line that is printed; paths have up to 4,096.
VALUE_LIMIT, LINE_LIMIT = 160, 5000
#: Kinds of characters that move the cursor, colour or reorder text, break lines, or cannot be encoded.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
#: Joiners are parts of words in many scripts, and of emoji.
_JOINERS = "\u200c\u200d"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a hint at the choice that resembles a mistyped name, and the list of choices.

    Example:
        >>> did_you_mean("dvr", ["dvar", "ema", "hall"])
        "did you mean 'dvar'? Available: dvar, ema, hall"
        >>> did_you_mean("xyz", ["dvar", "ema"])
        'available: dvar, ema'
    """
    choices = list(choices)
    listed = ", ".join(choices) or "none"
    near = get_close_matches(name, choices, n=1)
    if not near:
        return f"available: {listed}"
    return f"did you mean {near[0]!r}?" + (f" Available: {listed}" if len(choices) <= FEW else "")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that is not empty, or the error's class name if all are."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def printable(text: str, limit: int = LINE_LIMIT) -> str:
    """Return text from outside as it may reach a terminal: in one line, cut, and with nothing that steers it.

    Escape and other control characters (C0, C1), line breaks, marks that reorder text (bidi), other invisible
    characters and lone surrogates become Python's escapes; everything else is unchanged.

    Args:
        text: a name, a reason, an error, ... as a file or a user gave it.
        limit: most characters of the text that are kept; what is cut off is counted.

    Example:
        >>> printable("red \\x1b[31m")
        'red \\\\x1b[31m'
        >>> printable("a" * 30, limit=3)
        'aaa... (27 more characters)'
    """
    kept = text[:limit]
    if not is_printable(kept):
        kept = "".join(char if _is_safe(char) else _escaped(char) for char in kept)
    return kept if len(text) <= limit else f"{kept}... ({len(text) - limit} more characters)"


def printable_lines(text: str, limit: int = LINE_LIMIT) -> str:
    """Return text of several lines as `printable` returns each of them."""
    return "\n".join(printable(line, limit) for line in text.split("\n"))


def is_printable(text: str) -> bool:
    """Whether `printable` returns the text as it is, but for its length."""
    return text.isprintable() or all(map(_is_safe, text))


def quoted(value: object, limit: int = VALUE_LIMIT) -> str:
    """Return a value as Python writes it, for a message: in one line, cut, and safe to print."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; a deeply nested value
        text = f"a value of the type {type(value).__name__} that is too large to print"
    return printable(text, limit)


def _is_safe(char: str) -> bool:
    return unicodedata.category(char) not in _UNSAFE or char in _JOINERS


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC): macOS may keep "é" as two characters, keyboards send one.

    Example:
        >>> composed("cafe\u0301") == "caf\u00e9"
        True
    """
    return unicodedata.normalize("NFC", name)
