"""The files of a recording: their names, how they are encoded, and how damage is detected.

    <concept>-<key>/
        manifest.json     format version, key and identity; written once
        facts.json        facts of the training once it is set up: fixed inputs, device, versions
        status.json       state, reason, counts, the writer; once ended, hashes of facts, steps and quality
        steps.parquet     step, l_det, train_loss, grad_norm, seconds, l_det_seconds, input_0, input_1, ...
        quality.parquet   step, seconds, files, score_<metric>, ..., seconds_<samples>, ...
        snapshots/step-000100/   adapter and samples of a snapshot; its row in quality.parquet lists the files
        traceback.txt     of a failed run
        checkpoint.json   step, folder and files of the newest checkpoint
        checkpoint/step-000100-<8 hex digits>/

A recording exists once it has a status.json, which is written last.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.recording import Floats, Quality, Recording, State, Steps
from orchestrator.storage.files import Files, check_name
from trainables.errors import InvalidInput
from trainables.types import JsonDict, JsonObject

FORMAT = 1
MANIFEST, FACTS, STATUS = "manifest.json", "facts.json", "status.json"
STEPS, QUALITY, CHECKPOINT = "steps.parquet", "quality.parquet", "checkpoint.json"
TRACEBACK = "traceback.txt"
VALUES = ("l_det", "train_loss", "grad_norm", "seconds", "l_det_seconds")
_SCORE, _SECONDS = "score_", "seconds_"
_SLUG_LENGTH = 60

T = TypeVar("T")
QualityRow = JsonDict


@dataclass(frozen=True)
class Status:
    """The state and progress of a recording.

    Attributes:
        state: see `recording.State`.
        reason: why it ended; empty while it runs.
        steps: least number of rows in the steps table; exact once the recording has ended.
        snapshots: least number of rows in the quality table; exact once the recording has ended.
        writer: token of the process that writes it.
        sha256: file name to hash; empty while the recording runs.
    """

    state: State
    reason: str
    steps: int
    snapshots: int
    writer: str
    sha256: Mapping[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """The place of the newest checkpoint.

    Attributes:
        step: optimizer steps done.
        folder: relative to the recording's.
        files: relative name to size in bytes.
    """

    step: int
    folder: str
    files: Mapping[str, int]


@dataclass(frozen=True)
class Contents:
    """Everything in a recording except the files of its snapshots and its checkpoint.

    Attributes:
        identity: what determines the run.
        facts: the content of facts.json.
        status: the content of status.json.
        values: the steps table without its first column, shape (steps, 5 + inputs); see `VALUES`.
        quality: rows of the quality table as they are stored.
    """

    identity: RunIdentity
    facts: JsonObject
    status: Status
    values: Floats
    quality: Sequence[QualityRow]

    def recording(self) -> Recording:
        """Return the contents as a `Recording`, whose columns are arrays by name."""
        columns = {name: self.values[:, index].copy() for index, name in enumerate(VALUES)}
        return Recording(
            identity=self.identity,
            facts=self.facts,
            state=self.status.state,
            reason=self.status.reason,
            steps=Steps(**columns, input_losses=self.values[:, len(VALUES) :].copy()),
            quality=_quality(self.quality),
        )


def _quality(rows: Sequence[QualityRow]) -> Quality:
    def columns(prefix: str) -> dict[str, Floats]:
        names = _with_prefix(rows[0], prefix) if rows else []
        return {name: np.array([row[f"{prefix}{name}"] for row in rows]) for name in names}

    return Quality(
        steps=np.array([row["step"] for row in rows], dtype=np.int64),
        scores=columns(_SCORE),
        seconds=np.array([row["seconds"] for row in rows], dtype=np.float64),
        samples_seconds=columns(_SECONDS),
    )


def folder_name(identity: RunIdentity) -> str:
    """Return the name of the folder for the recording of a run: its concept's slug and its key."""
    return f"{slug(identity.concept)}-{identity.key}"


def slug(name: str) -> str:
    """Turn any name into a safe part of a path.

    Returns:
        At most 60 of letters, digits, '.', '_' and '-', without a leading or trailing '.' or '-'; "concept" if nothing
        else is left.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_name).strip(".-")[:_SLUG_LENGTH].rstrip(".-") or "concept"


def snapshot_name(step: int) -> str:
    """Return the relative folder of the snapshot that was taken after `step` optimizer steps."""
    return f"snapshots/step-{step:06d}"


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def damaged(files: Files, name: str, what: str) -> InvalidInput:
    """Return the error for an unusable file of the recording at `files`, with the reason and the remedy."""
    return InvalidInput(f"{files.url}/{name} is damaged: {what}; delete the folder {files.url} and record again")


# -- encoding ----------------------------------------------------------------------------------------------------------


def encode_json(fields: JsonObject) -> bytes:
    """Encode plain JSON.

    Raises:
        ValueError: a number is not finite, for which JSON has no form.
    """
    return json.dumps(fields, indent=2, sort_keys=True, allow_nan=False).encode()


def encode_manifest(identity: RunIdentity) -> bytes:
    """Encode a manifest: the format's version, the key, and what determines the run."""
    return encode_json({"format": FORMAT, "key": identity.key, "identity": identity.to_json()})


def encode_record(record: Status | Checkpoint) -> bytes:
    """Encode a status, or the place of a checkpoint, as JSON."""
    return encode_json(asdict(record))


def encode_steps(values: Floats) -> bytes:
    """Encode the steps table; `values` has the shape (steps, 5 + inputs), and its row k-1 holds step k."""
    schema = _steps_schema(values.shape[1] - len(VALUES))
    numbers = pa.array(np.arange(1, len(values) + 1, dtype=np.int64))
    columns = [pa.array(np.ascontiguousarray(column)) for column in values.T]
    return _encode_table(pa.Table.from_arrays([numbers, *columns], schema=schema))


def encode_quality(rows: Sequence[QualityRow]) -> bytes:
    """Encode the quality table; all rows must have the same metrics."""
    return _encode_table(pa.Table.from_pylist(list(rows), schema=_quality_schema(list(rows[0]) if rows else [])))


def quality_row(
    step: int, scores: Mapping[str, float], seconds: Mapping[str, float], files: Mapping[str, int]
) -> QualityRow:
    """Return a snapshot's row as the quality table stores it.

    Args:
        step: optimizer steps done.
        scores: metric to score.
        seconds: samples to the time that drawing and scoring them took.
        files: relative name to size in bytes.
    """
    columns = {f"{_SCORE}{measure}": float(score) for measure, score in sorted(scores.items())}
    columns |= {f"{_SECONDS}{samples}": float(value) for samples, value in sorted(seconds.items())}
    return {"step": step, "seconds": float(sum(seconds.values())), "files": encode_json(files).decode(), **columns}


def measures_of(row: QualityRow) -> list[str]:
    """Return the names of the metrics in a row of the quality table."""
    return _with_prefix(row, _SCORE)


def _with_prefix(row: QualityRow, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in row if name.startswith(prefix)]


def _encode_table(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # A dictionary would merge NaNs with different bits; what is read must equal what was measured, bit for bit.
    pq.write_table(table, sink, use_dictionary=False, write_page_checksum=True)
    return cast(bytes, sink.getvalue().to_pybytes())


def _steps_schema(inputs: int) -> pa.Schema:
    names = [*VALUES, *(f"input_{index}" for index in range(inputs))]
    return pa.schema([_column("step", pa.int64()), *(_column(name, pa.float64()) for name in names)])


def _quality_schema(columns: Sequence[str]) -> pa.Schema:
    fixed = [_column("step", pa.int64()), _column("seconds", pa.float64()), _column("files", pa.string())]
    further = [name for name in columns if name.startswith((_SCORE, _SECONDS))]
    return pa.schema([*fixed, *(_column(name, pa.float64()) for name in further)])


def _column(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


# -- decoding: each raises ValueError, which `decode` turns into the message with folder, file and remedy --------------


def decode(files: Files, name: str, decoder: Callable[[bytes], T], data: bytes) -> T:
    """Decode the bytes of the file `name` with `decoder`.

    Raises:
        InvalidInput: the file is damaged; the message names it and the remedy.
    """
    try:
        return decoder(data)
    except (ValueError, RecursionError) as error:
        raise damaged(files, name, str(error)) from error


def decode_json(data: bytes) -> JsonDict:
    """Decode a JSON object, strictly: NaN and Infinity are refused.

    Raises:
        ValueError: it is not JSON, or not an object.
    """
    fields = json.loads(data, parse_constant=_refuse_constant)
    if not isinstance(fields, dict):
        raise ValueError("it holds no JSON object")
    return fields


def decode_identity(data: bytes) -> RunIdentity:
    """Decode a manifest and return its identity, from which its key must follow.

    Raises:
        ValueError: it is not a manifest, of another format, or its key belongs to another identity.
    """
    fields = decode_json(data)
    if fields.get("format") != FORMAT:
        raise ValueError(f"its format is {fields.get('format')!r}, but this version of the program reads {FORMAT}")
    identity = RunIdentity(_field(fields, "identity", dict))
    if fields.get("key") != identity.key:
        raise ValueError(f"its key is {fields.get('key')!r}, but its identity has the key {identity.key!r}")
    return identity


def decode_status(data: bytes) -> Status:
    """Decode status.json and check the type of every field.

    Raises:
        ValueError: a field is missing or has another type, or the state is unknown.
    """
    fields = decode_json(data)
    if fields.get("state") not in get_args(State):
        raise ValueError(f"its state is {fields.get('state')!r}, but should be in: {', '.join(get_args(State))}")
    return Status(
        state=fields["state"],
        reason=_field(fields, "reason", str),
        steps=_field(fields, "steps", int),
        snapshots=_field(fields, "snapshots", int),
        writer=_field(fields, "writer", str),
        sha256=_field(fields, "sha256", dict),
    )


def decode_checkpoint(data: bytes) -> Checkpoint:
    """Decode the place of the newest checkpoint.

    Raises:
        ValueError: a field is missing or has another type, or a name is unsafe.
    """
    fields = decode_json(data)
    folder = _field(fields, "folder", str)
    check_name(folder)
    return Checkpoint(_field(fields, "step", int), folder, decode_sizes(_field(fields, "files", dict)))


def decode_sizes(fields: JsonObject) -> dict[str, int]:
    """Check and return a mapping of relative file names to sizes in bytes.

    Raises:
        ValueError: a name is unsafe, or a size is not a whole number.
    """
    for name in fields:
        check_name(name)
    return {name: _field(fields, name, int) for name in fields}


def decode_steps(data: bytes) -> Floats:
    """Decode the steps table into an array of shape (steps, 5 + inputs).

    Raises:
        ValueError: the table is damaged, has other columns, or its steps are not numbered from 1.
    """
    table = _decode_table(data)
    _check_schema(table, _steps_schema(max(0, table.num_columns - 1 - len(VALUES))))
    steps, *columns = (column.to_numpy() for column in table.columns)
    if not np.array_equal(steps, np.arange(1, len(steps) + 1)):
        raise ValueError(f"its {len(steps)} steps are not numbered 1 to {len(steps)}")
    return np.column_stack(columns)


def decode_quality(data: bytes) -> list[QualityRow]:
    """Decode the quality table into its rows.

    Raises:
        ValueError: the table is damaged, has other columns, or its steps do not ascend.
    """
    table = _decode_table(data)
    _check_schema(table, _quality_schema(table.column_names))
    rows = cast(list[QualityRow], table.to_pylist())
    steps = [row["step"] for row in rows]
    if steps != sorted(set(steps)) or any(step < 0 for step in steps):
        raise ValueError(f"its steps do not ascend: {steps}")
    for row in rows:
        decode_sizes(decode_json(row["files"].encode()))
    return rows


def snapshot_files(row: QualityRow) -> dict[str, int]:
    """Return the relative names of a snapshot's files, with their sizes in bytes."""
    return decode_sizes(decode_json(row["files"].encode()))


def _decode_table(data: bytes) -> pa.Table:
    try:
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"it is not a whole Parquet file ({error})") from error


def _check_schema(table: pa.Table, expected: pa.Schema) -> None:
    if not table.schema.equals(expected, check_metadata=False):
        raise ValueError(f"its columns are {_describe(table.schema)}; expected {_describe(expected)}")


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name} ({column.type})" for column in schema)


def _field(fields: JsonObject, name: str, kind: type) -> Any:
    value = fields.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name!r} should be of the type {kind.__name__}, but is {value!r}")
    return value


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"it holds {constant}, which is not JSON")
