"""The files of a recording: their names, what they hold, and how it is encoded; `decoding` reads it back.

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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.recording import Floats, Quality, Recording, State, Steps
from orchestrator.storage.files import Files
from trainables.errors import InvalidInput
from trainables.types import JsonDict, JsonObject

FORMAT = 1
MANIFEST, FACTS, STATUS = "manifest.json", "facts.json", "status.json"
STEPS, QUALITY, CHECKPOINT = "steps.parquet", "quality.parquet", "checkpoint.json"
TRACEBACK = "traceback.txt"
VALUES = ("l_det", "train_loss", "grad_norm", "seconds", "l_det_seconds")
_SCORE, _SECONDS = "score_", "seconds_"
_SLUG_LENGTH = 60

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
    schema = steps_schema(values.shape[1] - len(VALUES))
    numbers = pa.array(np.arange(1, len(values) + 1, dtype=np.int64))
    columns = [pa.array(np.ascontiguousarray(column)) for column in values.T]
    return _encode_table(pa.Table.from_arrays([numbers, *columns], schema=schema))


def encode_quality(rows: Sequence[QualityRow]) -> bytes:
    """Encode the quality table; all rows must have the same metrics."""
    return _encode_table(pa.Table.from_pylist(list(rows), schema=quality_schema(list(rows[0]) if rows else [])))


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
    columns = {f"{_SCORE}{metric}": float(score) for metric, score in sorted(scores.items())}
    columns |= {f"{_SECONDS}{samples}": float(value) for samples, value in sorted(seconds.items())}
    return {"step": step, "seconds": float(sum(seconds.values())), "files": encode_json(files).decode(), **columns}


def _with_prefix(row: QualityRow, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in row if name.startswith(prefix)]


def _encode_table(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # A dictionary would merge NaNs with different bits; what is read must equal what was measured, bit for bit.
    pq.write_table(table, sink, use_dictionary=False, write_page_checksum=True)
    return cast(bytes, sink.getvalue().to_pybytes())


def steps_schema(inputs: int) -> pa.Schema:
    """Return the columns of the steps table of a run with a number of fixed inputs."""
    names = [*VALUES, *(f"input_{index}" for index in range(inputs))]
    return pa.schema([_column("step", pa.int64()), *(_column(name, pa.float64()) for name in names)])


def quality_schema(columns: Sequence[str]) -> pa.Schema:
    """Return the columns of a quality table; of `columns`, those of scores and their seconds are its own."""
    fixed = [_column("step", pa.int64()), _column("seconds", pa.float64()), _column("files", pa.string())]
    further = [name for name in columns if name.startswith((_SCORE, _SECONDS))]
    return pa.schema([*fixed, *(_column(name, pa.float64()) for name in further)])


def _column(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)
