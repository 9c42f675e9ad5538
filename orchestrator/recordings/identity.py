"""The identity of a run: everything that determines it, and the key that is computed from that."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.config.explain import explain
from orchestrator.config.fields import MAX_STEPS, MAX_TEXT
from trainables.checks import check_plain
from trainables.text import composed
from trainables.types import JsonDict, JsonObject

_Text = Annotated[str, Field(max_length=MAX_TEXT)]


class _Part(BaseModel):
    """Types of the fields that the program reads; others are kept as they are."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Concept(_Part):
    name: _Text
    class_noun: _Text = ""
    images: list[Any] = []


class _Method(_Part):
    name: _Text = ""


class _BaseModel(_Part):
    id: _Text = ""
    fingerprint: _Text = ""


class _Fields(_Part):
    concept: _Concept
    budget: int = Field(ge=1, le=MAX_STEPS)
    seed: int | None = None
    method: _Method | None = None
    base_model: _BaseModel | None = None


class RunIdentity:
    """Everything that determines a run: model, method, concept, seed, budget and settings.

    Two identities are equal if their keys are equal. Files of older versions and of other programs may lack some
    fields: only the concept's name and the budget are always present.

    Args:
        fields: plain JSON, as `Experiment` describes a run and as a manifest holds it.

    Raises:
        ValueError: the concept's name or the budget is missing, a field is of another type or out of its range, or a
            value has no JSON form.
    """

    def __init__(self, fields: JsonObject) -> None:
        try:
            check_plain(fields)
            _Fields.model_validate(dict(fields))
        except ValidationError as error:
            raise ValueError(f"an identity is not understood: {explain(error)[0]}") from error
        self._fields = dict(fields)
        self._key = json_hash(self._fields)

    def to_json(self) -> JsonDict:
        """Return every field as plain JSON, from which `RunIdentity` makes an equal identity."""
        return dict(self._fields)

    def with_fields(self, **changes: Any) -> "RunIdentity":
        """Return the identity of a run that differs in the given fields."""
        return RunIdentity(self._fields | changes)

    @property
    def key(self) -> str:
        """Hash of all fields, 20 hexadecimal digits; it names the recording of the run."""
        return self._key

    @property
    def concept(self) -> str:
        """Name of the concept that the run learns, in the form in which a concept's folder is named today."""
        return composed(self._fields["concept"]["name"])

    @property
    def class_noun(self) -> str:
        """Class noun of the concept, such as "dog"; empty if unknown."""
        return str(self._fields["concept"].get("class_noun", ""))

    @property
    def image_count(self) -> int:
        """Number of the concept's images; 0 if unknown."""
        return len(self._fields["concept"].get("images", ()))

    @property
    def budget(self) -> int:
        """Optimizer steps of a full-length run."""
        return int(self._fields["budget"])

    @property
    def seed(self) -> int | None:
        """Seed of the training; None if unknown."""
        seed = self._fields.get("seed")
        return None if seed is None else int(seed)

    @property
    def method(self) -> str:
        """Name of the personalization method; empty if unknown."""
        return str(self._section("method").get("name", ""))

    @property
    def base_model(self) -> str:
        """Id of the base model; empty if unknown."""
        return str(self._section("base_model").get("id", ""))

    @property
    def fingerprint(self) -> str:
        """Hash of the base model's files; empty if unknown."""
        return str(self._section("base_model").get("fingerprint", ""))

    def _section(self, name: str) -> JsonObject:
        section = self._fields.get(name)
        return section if isinstance(section, Mapping) else {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunIdentity) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"RunIdentity(concept={self.concept!r}, key={self.key!r})"


def json_hash(fields: JsonObject) -> str:
    """Return a hash of plain JSON, 20 hexadecimal digits; the order of keys does not matter.

    Raises:
        TypeError: a value has no JSON form.
        ValueError: a number is not finite.
    """
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
