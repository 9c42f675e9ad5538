"""Decodes the files of a recording, and detects damage.

Each decoder raises ValueError, which `decode` turns into the message with folder, file and remedy.
"""

import io
import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, cast, get_args

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.config.explain import explain
from orchestrator.config.fields import MAX_STEPS
from orchestrator.recordings.format import (
    FORMAT,
    VALUES,
    Checkpoint,
    QualityRow,
    Status,
    damaged,
    has_stated_digest,
    quality_schema,
    snapshot_name,
    steps_schema,
)
from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.recording import Floats, State
from orchestrator.recordings.tables import check_schema, read_table
from orchestrator.storage.files import Files, check_name
from orchestrator.storage.hashes import StoredFile
from orchestrator.storage.sealed import unsealed
from trainables.checks import check_plain
from trainables.settings import MAX_COUNT, PAPER
from trainables.text import printable, quoted
from trainables.types import JsonDict, JsonObject

T = TypeVar("T")

#: Most bytes of a JSON file; the largest that the program writes, facts of 8 fixed inputs, has 3,000.
MAX_JSON = 4_000_000


def decode(files: Files, name: str, decoder: Callable[[bytes], T], data: bytes) -> T:
    """Decode the bytes of the file `name` with `decoder`.

    Raises:
        InvalidInput: the file is damaged; the message names it and the remedy.
    """
    try:
        return decoder(data)
    except ValueError as error:
        raise damaged(files, name, printable(str(error), 1000)) from error


def decode_json(data: bytes | str) -> JsonDict:
    """Decode a JSON object, strictly: NaN, Infinity and what is nested too deeply are refused.

    Raises:
        ValueError: it is not JSON, not an object, or too large.
    """
    if len(data) > MAX_JSON:
        raise ValueError(f"it has {len(data):,} bytes; at most {MAX_JSON:,}")
    try:
        fields = json.loads(data, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(fields, dict):
        raise ValueError("it holds no JSON object")
    check_plain(fields)
    return fields


class _FixedInput(BaseModel):
    """What is read of an input's description."""

    model_config = ConfigDict(strict=True, extra="allow")

    timestep: int | None = None
    batch: str = PAPER


class _Repeated(BaseModel):
    """What a snapshot was scored at again, beside the names of its files."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    repeated_scores: dict[str, Annotated[list[float], Field(min_length=1, max_length=MAX_COUNT)]] = {}


class _Facts(BaseModel):
    """Types of the facts that the program reads; others are kept as they are."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    initial_losses: list[float] = []
    fixed_inputs: list[_FixedInput] = []
    l_det_costs: dict[str, dict[str, Annotated[float, Field(ge=0)]]] = {}


def decode_facts(data: bytes | str) -> JsonDict:
    """Decode the facts of a training.

    Raises:
        ValueError: they are no JSON object, or one that the program reads is of another type.
    """
    facts = decode_json(data)
    try:
        _Facts.model_validate(facts)
    except ValidationError as error:
        raise ValueError(f"facts are not understood: {explain(error)[0]}") from error
    return facts


def decode_identity(data: bytes) -> RunIdentity:
    """Decode a manifest and return its identity, from which its key must follow.

    Raises:
        ValueError: it is not a manifest, of another format, or its key belongs to another identity.
    """
    fields = decode_json(data)
    if fields.get("format") != FORMAT:
        raise ValueError(
            f"its format is {quoted(fields.get('format'))}, but this version of the program reads {FORMAT}"
        )
    identity = RunIdentity(_field(fields, "identity", dict))
    if fields.get("key") != identity.key:
        raise ValueError(f"its key is {quoted(fields.get('key'))}, but its identity has the key {identity.key!r}")
    return identity


def decode_status(data: bytes) -> Status:
    """Decode status.json and check the type of every field.

    Raises:
        ValueError: a field is missing or has another type, or the state is unknown.
    """
    fields = unsealed(decode_json(data))
    if fields.get("state") not in list(get_args(State)):
        raise ValueError(f"its state is {quoted(fields.get('state'))}, but should be in: {', '.join(get_args(State))}")
    return Status(
        state=fields["state"],
        reason=_field(fields, "reason", str),
        steps=_count(fields, "steps"),
        snapshots=_count(fields, "snapshots"),
        writer=_field(fields, "writer", str),
        sha256=_field(fields, "sha256", dict),
        number=_field(fields, "number", int) if "number" in fields else 1,
    )


def decode_checkpoint(data: bytes) -> Checkpoint:
    """Decode the place of the newest checkpoint.

    Raises:
        ValueError: a field is missing or has another type, or a name is unsafe.
    """
    fields = unsealed(decode_json(data))
    folder = _field(fields, "folder", str)
    check_name(folder)
    return Checkpoint(_field(fields, "step", int), folder, decode_stored(_field(fields, "files", dict)))


def decode_stored(fields: JsonObject) -> dict[str, StoredFile]:
    """Check and return a mapping of relative file names to what was stored: size and hash, or the size alone.

    Raises:
        ValueError: a name is unsafe, a size is not a whole number, or a hash is not a text.
    """
    stored = {}
    for name, about in fields.items():
        check_name(name)
        if isinstance(about, dict):
            stored[name] = StoredFile(_field(about, "size", int), _field(about, "sha256", str))
        else:
            stored[name] = StoredFile(_field(fields, name, int))
    return stored


def decode_steps(data: bytes) -> Floats:
    """Decode the steps table into an array of shape (steps, 5 + inputs).

    Raises:
        ValueError: the table is damaged, has other columns, or its steps are not numbered from 1.
    """
    table = read_table(io.BytesIO(data))
    _check_table(table, steps_schema(max(0, table.num_columns - 1 - len(VALUES))))
    steps, *columns = (column.to_numpy() for column in table.columns)
    if not np.array_equal(steps, np.arange(1, len(steps) + 1)):
        raise ValueError(f"its {len(steps)} steps are not numbered 1 to {len(steps)}")
    return np.column_stack(columns)


def decode_quality(data: bytes) -> list[QualityRow]:
    """Decode the quality table into its rows.

    Raises:
        ValueError: the table is damaged, has other columns, or its steps do not ascend.
    """
    table = read_table(io.BytesIO(data))
    _check_table(table, quality_schema(table.column_names))
    rows = cast(list[QualityRow], table.to_pylist())
    steps = [row["step"] for row in rows]
    if steps != sorted(set(steps)) or any(step < 0 for step in steps):
        raise ValueError(f"its steps do not ascend: {quoted(steps)}")
    for row in rows:
        snapshot_files(row)
        try:
            _Repeated.model_validate(decode_json(row["files"].encode()))
        except ValidationError as error:
            raise ValueError(f"a snapshot is not understood: {explain(error)[0]}") from error
    return rows


def snapshot_files(row: QualityRow) -> tuple[str, dict[str, StoredFile]]:
    """Return the relative folder of a snapshot, and the names of its files with what was stored.

    Raises:
        ValueError: the row does not name them.
    """
    about = decode_json(row["files"].encode())
    if not isinstance(about.get("files"), dict):
        return snapshot_name(row["step"]), decode_stored(about)  # of an older version: sizes alone
    folder = _field(about, "folder", str)
    check_name(folder)
    return folder, decode_stored(about["files"])


def _check_table(table: pa.Table, expected: pa.Schema) -> None:
    check_schema(table.schema, expected)
    if not has_stated_digest(table):
        raise ValueError("its content does not match the hash that it states")


def _field(fields: JsonObject, name: str, kind: type) -> Any:
    value = fields.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name!r} should be of the type {kind.__name__}, but is {quoted(value)}")
    return value


def _count(fields: JsonObject, name: str) -> int:
    value: int = _field(fields, name, int)
    if not 0 <= value <= MAX_STEPS:
        raise ValueError(f"{name!r} should lie between 0 and {MAX_STEPS:,}, but is {quoted(value)}")
    return value


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"it holds {constant}, which is not JSON")
