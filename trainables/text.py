"""Words for messages and names: a hint at what was meant, the telling line of an error, one form of a name."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

#: If there are more choices than these, only the probable choice is named.
FEW = 12


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


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC): macOS may keep "é" as two characters, keyboards send one.

    Example:
        >>> composed("cafe\u0301") == "caf\u00e9"
        True
    """
    return unicodedata.normalize("NFC", name)
