"""The files of a recording: their names, what they hold, and how it is encoded; `decoding` reads it back.

    <concept>-<key>/
        manifest.json     format version, key and identity; written once
        writers/1.json    the claim of the first process that writes here; whoever takes over claims the next number
        facts.json        facts of the training once it is set up: fixed inputs, device, versions
        status.json       state, reason, counts, the writer; hashes of facts and, once ended, of the other files
        steps.parquet     step, l_det, train_loss, grad_norm, seconds, l_det_seconds, input_0, input_1, ...
        quality.parquet   step, seconds, files, score_<metric>, ..., seconds_<samples>, ...
        snapshots/step-000100/   adapter and samples of a snapshot; its row in quality.parquet has sizes and hashes
        traceback.txt     of a failed run
        checkpoint.json   step, folder, sizes and hashes of the newest checkpoint
        checkpoint/step-000100-<8 hex digits>/

A writer that takes over writes files of its own: status-2.json, steps-2.parquet, snapshots/step-000200-2 and so on. A
process that was thought dead and wakes up can therefore spoil nothing, whatever it was about to do: the status with the
highest number is the recording's, and only that writer removes what earlier ones left.

Older recordings have no claims, and state sizes without hashes.

A recording exists once it has a status.json, which is written last.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.recording import Floats, Quality, Recording, State, Steps
from orchestrator.storage.files import Files
from orchestrator.storage.hashes import StoredFile
from orchestrator.storage.sealed import encode_json, encode_sealed
from trainables.errors import InvalidInput
from trainables.training.sinks import NO_SCORES
from trainables.types import JsonDict, JsonObject

FORMAT = 1
MANIFEST, FACTS, STATUS = "manifest.json", "facts.json", "status.json"
STEPS, QUALITY, CHECKPOINT = "steps.parquet", "quality.parquet", "checkpoint.json"
TRACEBACK = "traceback.txt"
#: What each writer has of its own, see `of_writer`.
WRITER_FILES = (FACTS, STATUS, STEPS, QUALITY, CHECKPOINT, TRACEBACK)
WRITERS, CHECKPOINTS = "writers", "checkpoint"
_CHECKPOINT_FOLDER = re.compile(r"step-\d{6,}-[0-9a-f]{8}")
_DIGEST = b"sha256"
VALUES = ("l_det", "train_loss", "grad_norm", "seconds", "l_det_seconds")
_SCORE, _SECONDS = "score_", "seconds_"
#: Key of a snapshot's column "files", which holds what only one snapshot has.
_REPEATED = "repeated_scores"
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
        sha256: file name to hash, whatever the writer's number; tables and traceback are added at the end.
        number: of the writer, counted from 1.
    """

    state: State
    reason: str
    steps: int
    snapshots: int
    writer: str
    sha256: Mapping[str, str]
    number: int = 1


@dataclass(frozen=True)
class Checkpoint:
    """The place of the newest checkpoint.

    Attributes:
        step: optimizer steps done.
        folder: relative to the recording's.
        files: relative name to what was stored.
    """

    step: int
    folder: str
    files: Mapping[str, StoredFile]


@dataclass(frozen=True)
class Contents:
    """Everything in a recording except the files of its snapshots and its checkpoint.

    Attributes:
        identity: what determines the run.
        facts: the content of facts.json.
        status: the content of status.json.
        values: the steps table without its first column, shape (steps, 5 + inputs); see `VALUES`. The inputs are those
            of the paper's batch, then of the stratified, then of the held-out batch.
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
        repeated_scores=_repeated_scores(rows[-1]) if rows else {},
    )


def _repeated_scores(row: QualityRow) -> dict[str, Floats]:
    about = json.loads(row["files"]).get(_REPEATED, {})
    return {name: np.array(scores, dtype=np.float64) for name, scores in about.items()}


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


def of_writer(name: str, number: int) -> str:
    """Return the name that a file of a recording has where the writer of this number writes it.

    Example:
        >>> of_writer("steps.parquet", 1), of_writer("steps.parquet", 2), of_writer("snapshots/step-000100", 2)
        ('steps.parquet', 'steps-2.parquet', 'snapshots/step-000100-2')
    """
    stem, dot, suffix = name.rpartition(".") if "." in name else (name, "", "")
    return name if number == 1 else f"{stem}-{number}{dot}{suffix}"


def writers_of(name: str, names: Iterable[str]) -> list[int]:
    """Return the numbers of the writers whose file `name` is among `names`."""
    stem, _, suffix = name.rpartition(".")
    matches = (re.fullmatch(rf"{stem}(?:-([1-9]\d{{0,8}}))?\.{suffix}", other) for other in names)
    return [int(match[1] or 1) for match in matches if match]


def claim_name(number: int) -> str:
    """Return the name of the claim of a writer."""
    return f"{WRITERS}/{number}.json"


def claims_among(names: Iterable[str]) -> list[int]:
    """Return the numbers of the writers whose claims are among the names in `WRITERS`."""
    return [int(match[1]) for name in names if (match := re.fullmatch(r"([1-9]\d{0,8})\.json", name))]


def snapshot_name(step: int, number: int = 1) -> str:
    """Return the relative folder of the snapshot that a writer took after `step` optimizer steps."""
    return of_writer(f"snapshots/step-{step:06d}", number)


def new_checkpoint_name(step: int) -> str:
    """Return a relative folder for a checkpoint that no other one has."""
    return f"{CHECKPOINTS}/step-{step:06d}-{uuid4().hex[:8]}"


def is_checkpoint(name: str) -> bool:
    """Whether a name in the folder of checkpoints is one that `new_checkpoint_name` makes."""
    return _CHECKPOINT_FOLDER.fullmatch(name) is not None


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def damaged(files: Files, name: str, what: str) -> InvalidInput:
    """Return the error for an unusable file of the recording at `files`, with the reason and the remedy."""
    return InvalidInput(f"{files.url}/{name} is damaged: {what}; delete the folder {files.url} and record again")


# -- encoding ----------------------------------------------------------------------------------------------------------


def encode_manifest(identity: RunIdentity) -> bytes:
    """Encode a manifest: the format's version, the key, and what determines the run."""
    return encode_json({"format": FORMAT, "key": identity.key, "identity": identity.to_json()})


def encode_status(status: Status) -> bytes:
    """Encode a status, with a hash of itself."""
    return encode_sealed(asdict(status))


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Encode the place of a checkpoint, with a hash of itself."""
    return encode_sealed({"step": checkpoint.step, "folder": checkpoint.folder, "files": stored_json(checkpoint.files)})


def stored_json(files: Mapping[str, StoredFile]) -> JsonDict:
    """Return what was stored as plain JSON; where no hash is known, the size alone, as in older versions."""
    return {
        name: {"size": stored.size, "sha256": stored.sha256} if stored.sha256 else stored.size
        for name, stored in files.items()
    }


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
    step: int,
    scores: Mapping[str, float],
    seconds: Mapping[str, float],
    folder: str,
    files: Mapping[str, StoredFile],
    repeated_scores: Mapping[str, Sequence[float]] = NO_SCORES,
) -> QualityRow:
    """Return a snapshot's row as the quality table stores it.

    Args:
        step: optimizer steps done.
        scores: metric to score.
        seconds: samples to the time that drawing and scoring them took.
        folder: of the snapshot, relative to the recording's.
        files: relative name to what was stored.
        repeated_scores: metric to the scores of further samples; empty if there are none.
    """
    repeated = {_REPEATED: {name: list(values) for name, values in repeated_scores.items()}} if repeated_scores else {}
    about = encode_json({"folder": folder, "files": stored_json(files)} | repeated).decode()
    columns = {f"{_SCORE}{metric}": float(score) for metric, score in sorted(scores.items())}
    columns |= {f"{_SECONDS}{samples}": float(value) for samples, value in sorted(seconds.items())}
    return {"step": step, "seconds": float(sum(seconds.values())), "files": about, **columns}


def _with_prefix(row: QualityRow, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in row if name.startswith(prefix)]


def _encode_table(table: pa.Table) -> bytes:
    # The checksums of pages leave out the file's own structure, so the content has a hash, too.
    table = table.replace_schema_metadata({_DIGEST: table_digest(table)})
    sink = pa.BufferOutputStream()
    # A dictionary would merge NaNs with different bits; what is read must equal what was measured, bit for bit.
    pq.write_table(table, sink, use_dictionary=False, write_page_checksum=True)
    return cast(bytes, sink.getvalue().to_pybytes())


def table_digest(table: pa.Table) -> str:
    """Return the SHA-256 of a table's content, in hexadecimal, independent of its encoding."""
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.to_pylist() if pa.types.is_string(column.type) else [column.to_numpy().tobytes()]
        for content in (name.encode(), *(value.encode() if isinstance(value, str) else value for value in values)):
            digest.update(f"{len(content)}\n".encode() + content)
    return digest.hexdigest()


def has_stated_digest(table: pa.Table) -> bool:
    """Whether a table has the content that its metadata state the hash of; tables of older versions state none."""
    stated = (table.schema.metadata or {}).get(_DIGEST)
    return stated is None or stated == table_digest(table).encode()


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
