"""Checks settings by their annotations, so that a misspelt number is reported with the setting's name."""

import dataclasses
import re
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from trainables.errors import InvalidInput
from trainables.text import quoted

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
        if what := problem(hints[field.name], value):
            raise InvalidInput(f"{prefix}{field.name} must be {what}, got {quoted(value)}")


def check_at_most(settings: object, prefix: str = "", **limits: int) -> None:
    """Check whole numbers against limits that only a mistake exceeds, such as a batch of a billion.

    Raises:
        InvalidInput: an attribute is above its limit; the message names it.
    """
    for name, limit in limits.items():
        if getattr(settings, name) > limit:
            raise InvalidInput(f"{prefix}{name} must be at most {limit:,}, got {quoted(getattr(settings, name))}")


def check_plain(value: object, most_levels: int = 30) -> None:
    """Check that a value is plain JSON: mappings with texts as keys, lists, texts, finite numbers, booleans and None.

    Halves of a character (lone surrogates) are no text: no file in UTF-8 can hold them.

    Raises:
        InvalidInput: it holds something else, or is nested deeper than `most_levels`.
    """
    level = [value]
    for _ in range(most_levels + 1):
        if not level:
            return
        below: list[object] = []
        for entry in level:
            if isinstance(entry, Mapping):
                if wrong := [key for key in entry if not _is_text(key)]:
                    raise InvalidInput(f"keys must be texts, got {quoted(wrong[0])}")
                below += entry.values()
            elif isinstance(entry, list | tuple):
                below += entry
            elif (
                entry is not None
                and not isinstance(entry, bool | int)
                and not _is(float, entry)
                and not _is_text(entry)
            ):
                raise InvalidInput(f"values must be texts, finite numbers, true, false or null, got {quoted(entry)}")
        level = below
    raise InvalidInput(f"values must be nested at most {most_levels} deep")


def problem(hint: object, value: object) -> str | None:
    """Return what a value must be by its annotation, or None where it is that, or the annotation is not understood."""
    choices = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    kinds = [choice for choice in choices if choice is not type(None)]
    if len(kinds) != 1 or (value is None and type(None) in choices):
        return None
    plain = kinds[0]
    optional = " or null" if type(None) in choices else ""
    if plain in _NAMES:
        name = "a finite number" if plain is float and _is_number(value) else _NAMES[plain]
        return None if _is(plain, value) else name + optional
    if typing.get_origin(plain) is Sequence and typing.get_args(plain) == (str,):
        is_list = isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, str) for v in value)
        return None if is_list else "a list of texts" + optional
    return None


def _is(kind: type, value: object) -> bool:
    if kind is float:
        return _is_number(value) and abs(value) <= sys.float_info.max  # neither NaN nor infinite
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
