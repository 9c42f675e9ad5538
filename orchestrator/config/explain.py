"""What is wrong with a setting, in the program's words rather than pydantic's: "budget: must be at least 4, got 1"."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from trainables.errors import InvalidInput
from trainables.text import did_you_mean, printable, quoted

_WORDS = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "list_type": "must be a list",
    "too_short": "must hold at least {min_length}",
    "too_long": "must hold at most {max_length}",
    "dict_type": "must hold keys and values",
    "model_type": "must hold keys and values",
    "dataclass_type": "must hold keys and values",
    "literal_error": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
}
_UNKNOWN = frozenset({"extra_forbidden", "unexpected_keyword_argument"})


def explain(error: ValidationError, keys_at: Callable[[Sequence[str]], Sequence[str]] | None = None) -> list[str]:
    """Return a line for each problem: its dotted key, what the value must be, and the value, cut.

    Args:
        error: of pydantic.
        keys_at: returns the known keys below a path, for a hint at a misspelt key; None gives no hint.
    """
    return [_line(item, keys_at) for item in error.errors(include_url=False)]


def _line(item: Mapping[str, Any], keys_at: Callable[[Sequence[str]], Sequence[str]] | None) -> str:
    path = [str(part) for part in item["loc"]]
    key, kind, context = printable(".".join(path), 200), item["type"], item.get("ctx", {})
    if kind in _UNKNOWN:
        hint = f"; {did_you_mean(path[-1], keys_at(path[:-1]))}" if keys_at else ""
        return f"unknown key {key!r}{hint}"
    if kind == "missing":
        return f"{key}: is missing"
    if isinstance(context.get("error"), InvalidInput):  # it names the value already
        return f"{key}: {context['error']}" if key else str(context["error"])
    words = _WORDS.get(kind, item["msg"])
    return f"{key}: {words.format(**context)}, got {quoted(item['input'])}"
