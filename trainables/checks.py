"""Checks settings by their annotations, so that a misspelt number is reported with the setting's name."""

import dataclasses
import types
import typing
from collections.abc import Sequence

from trainables.errors import InvalidInput

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def check_types(settings: "DataclassInstance", prefix: str = "") -> None:
    """Compare the plain fields of a dataclass with their annotations; other kinds of fields are left alone.

    Args:
        settings: an instance; checked are its fields annotated as int, float, bool, str or a sequence of str, each
            with or without None.
        prefix: what messages put before a field's name.

    Raises:
        InvalidInput: a value has another type; the message names it.
    """
    try:
        hints = typing.get_type_hints(type(settings))
    except NameError:  # a name that is imported for type checkers alone
        return
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        problem = _problem(hints[field.name], value)
        if problem:
            raise InvalidInput(f"{prefix}{field.name} must be {problem}, got {value!r}")


def _problem(hint: object, value: object) -> str | None:
    """Return what the value must be, or None where it is that, or of a kind that is not checked."""
    choices = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    kinds = [choice for choice in choices if choice is not type(None)]
    if len(kinds) != 1 or (value is None and type(None) in choices):
        return None
    plain = kinds[0]
    optional = " or null" if type(None) in choices else ""
    if plain in _NAMES:
        return None if _is(plain, value) else _NAMES[plain] + optional
    if typing.get_origin(plain) is Sequence and typing.get_args(plain) == (str,):
        is_list = isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, str) for v in value)
        return None if is_list else "a list of texts" + optional
    return None


def _is(kind: type, value: object) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
