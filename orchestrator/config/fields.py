"""The base of all settings, and the kinds of their fields: what each kind refuses before anything begins."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from orchestrator.storage.storage import Storage
from trainables.checks import check_plain, problem
from trainables.errors import InvalidInput
from trainables.text import quoted
from trainables.types import JsonDict

#: Limits that only a mistake exceeds: characters of a name or place, and optimizer steps (the paper: 6,100).
MAX_TEXT, MAX_STEPS = 4096, 10_000_000
#: Most values of a table: 336 recordings of 6,100 steps with 8 fixed inputs have 25 million.
MAX_VALUES = 2**25


class Settings(BaseModel):
    """Base of all settings: frozen, validated, and an unknown key or a number that is not finite is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _check_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where a number is meant: `budget: yes` would be 1."""
        assert info.field_name is not None
        kind: Any = cls.model_fields[info.field_name].annotation
        kind = next((part for part in typing.get_args(kind) if dataclasses.is_dataclass(part)), kind)
        if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
            hints = typing.get_type_hints(kind)
            for key, entry in value.items():
                if isinstance(entry, bool) and (what := problem(hints.get(key), entry)):
                    raise InvalidInput(f"{key} must be {what}, got {entry}")
        if isinstance(value, bool) and (what := problem(kind, value)):
            raise InvalidInput(f"must be {what}, got {value}")
        return value


def _checked_plain(values: JsonDict) -> JsonDict:
    check_plain(values)
    return values


def _checked_count_or_names(value: object) -> object:
    is_names = isinstance(value, list) and value and all(isinstance(name, str) for name in value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if value is not None and not is_names and not is_count:
        raise InvalidInput(f"must be a number of concepts, at least 1, or a list of their names, got {quoted(value)}")
    return value


def _checked_place(place: str) -> str:
    Storage(place)
    return place


def _checked_number(value: object) -> object:
    if isinstance(value, bool):
        raise InvalidInput(f"must be a whole number, got {value}")
    return value


Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Place = Annotated[Text, AfterValidator(_checked_place)]
PlainDict = Annotated[JsonDict, AfterValidator(_checked_plain)]
Names = Annotated[list[Text], Field(min_length=1)]
CountOrNames = Annotated[list[str] | int | None, BeforeValidator(_checked_count_or_names)]
Seed = Annotated[int, BeforeValidator(_checked_number), Field(ge=-(2**63), lt=2**63)]
