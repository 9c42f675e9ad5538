"""Packs: many recordings in a single small file, to ship, send and publish; without checkpoints, samples and adapters.

A pack is a Parquet file with a row per recording: identity and facts as JSON, and the series as lists. A compact pack
has single precision and no column for L_det, which is the mean of the losses of the paper's batch.
"""

import hashlib
import itertools
import json
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from orchestrator.config.explain import explain
from orchestrator.config.fields import MAX_STEPS, MAX_TEXT, MAX_VALUES
from orchestrator.recordings.decoding import decode_facts, decode_json
from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.recording import Floats, Quality, Recording, Steps, input_columns
from orchestrator.recordings.tables import MAX_TEXTS, check_schema, read_table
from orchestrator.storage.atomic import replacing
from trainables.data.concept import check_name
from trainables.errors import InvalidInput
from trainables.l_det import InputColumns
from trainables.settings import MAX_COUNT, PAPER
from trainables.text import is_printable, printable, quoted
from trainables.types import JsonDict

_T = TypeVar("_T", bound=BaseModel)

FORMAT = 1
SERIES = ("train_loss", "grad_norm", "seconds", "l_det_seconds")
#: A complete recording has at least as many steps as the smallest budget of an experiment.
MIN_STEPS = 4


def _checked_metric(name: str) -> str:
    if not name or not is_printable(name):
        raise InvalidInput(f"a metric is called {quoted(name)}")
    return name


_Step = Annotated[int, Field(ge=0, le=MAX_STEPS)]
_Seconds = Annotated[float, Field(ge=0)]
_Metric = Annotated[str, Field(max_length=100), AfterValidator(_checked_metric)]


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class _About(_Checked):
    """What a pack says about itself; only the format is read from packs of another format."""

    format: int
    compact: bool
    sha256: str


class _Quality(_Checked):
    """The quality table of a recording."""

    steps: list[_Step]
    seconds: list[_Seconds]
    scores: dict[_Metric, list[float]]
    samples_seconds: dict[_Metric, list[_Seconds]] = {}
    repeated_scores: dict[_Metric, Annotated[list[float], Field(min_length=1, max_length=MAX_COUNT)]] = {}

    def check(self, last_step: int) -> None:
        """Raise ValueError if columns differ in length, or steps do not ascend up to `last_step`."""
        columns = {"seconds": self.seconds, **self.scores, **self.samples_seconds}
        for name, values in columns.items():
            if len(values) != len(self.steps):
                raise ValueError(f"quality: {quoted(name)} has {len(values)} values at {len(self.steps)} steps")
        if any(a >= b for a, b in itertools.pairwise(self.steps)) or self.steps[-1:] > [last_step]:
            raise ValueError(f"quality: its steps do not ascend up to {last_step}: {quoted(self.steps)}")


class _Row(_Checked):
    """A row without its series."""

    key: str
    identity: str
    facts: str
    reason: Annotated[str, Field(max_length=MAX_TEXT)]
    quality: str
    inputs: Annotated[int, Field(ge=0, le=MAX_COUNT)]


def write_pack(recordings: Sequence[Recording], path: Path, *, compact: bool = True) -> None:
    """Write recordings into a single file.

    Args:
        recordings: complete recordings; those without fixed inputs cannot be compact.
        path: of the file; its folder must exist.
        compact: whether to round series to single precision: a quarter of the size, and the same stops except where a
            variance lies within a millionth of its threshold.

    Raises:
        InvalidInput: there is no recording, a recording is not complete or cannot be compact, two are of the same run,
            they are more than a pack may hold, or the file cannot be written.
    """
    if not recordings:
        raise InvalidInput("there are no recordings to pack; make some with `dvar record`")
    for recording in recordings:
        if recording.state != "complete":
            raise InvalidInput(
                f"recording of {recording.concept!r} ({recording.key}) is {recording.state}, not complete; "
                "finish it with `dvar record`"
            )
    keys = [recording.key for recording in recordings]
    if len(set(keys)) < len(keys):
        raise InvalidInput(f"recording {max(keys, key=keys.count)!r} is given twice; each run goes into a pack once")
    values = sum(
        (len(SERIES) + 1 + recording.steps.input_losses.shape[1]) * len(recording.steps) for recording in recordings
    )
    if len(recordings) > MAX_TEXTS or values > MAX_VALUES:
        limits = f"{MAX_TEXTS:,} recordings and {MAX_VALUES:,} values"
        raise InvalidInput(
            f"{len(recordings):,} recordings with {values:,} values are too many for a pack, which holds "
            f"at most {limits}; make several with --only"
        )
    table = pa.Table.from_pylist([_row(recording, compact) for recording in recordings], schema=_schema(compact))
    about = {"format": FORMAT, "compact": compact, "sha256": _digest(table)}
    table = table.replace_schema_metadata({"pack": json.dumps(about)})
    lists = [f"{name}.list.element" for name in (*SERIES, "input_losses", *(() if compact else ("l_det",)))]
    try:
        with replacing(path) as file:
            pq.write_table(
                table, file, compression="zstd", compression_level=19, use_dictionary=False,
                column_encoding=dict.fromkeys(lists, "BYTE_STREAM_SPLIT"), write_page_checksum=True,
            )  # fmt: skip
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error}") from error


def read_pack(path: Path) -> list[Recording]:
    """Read every recording of a pack, sorted by concept and key.

    Raises:
        InvalidInput: the file is missing, damaged, not a pack, or of another format; the message names it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("it is no plain file")
        with path.open("rb") as file:
            table = read_table(file)
        about = _about(table, path)
        check_schema(table.schema, _schema(about.compact))
        if about.sha256 != _digest(table):
            raise ValueError("its content does not match the hash that it states")
        recordings = list(_recordings(table, path))
    except FileNotFoundError as error:
        raise InvalidInput(f"there is no pack of recordings at {path}") from error
    except InvalidInput:
        raise
    except (ValueError, OSError) as error:
        problem = printable(" ".join(str(error).split()), 500)
        raise InvalidInput(f"{path} is no pack of recordings, or damaged: {problem}; get the file again") from error
    return sorted(recordings, key=lambda recording: (recording.concept, recording.key))


def _about(table: pa.Table, path: Path) -> _About:
    fields = decode_json((table.schema.metadata or {}).get(b"pack", b"{}"))
    if type(stated := fields.get("format")) is int and stated != FORMAT:
        raise InvalidInput(f"{path} has format {quoted(stated)}, but this version of the program reads {FORMAT}")
    return _validated(_About, fields, "its description")


def _schema(compact: bool) -> pa.Schema:
    number = pa.float32() if compact else pa.float64()
    texts = [pa.field(name, pa.string()) for name in ("key", "identity", "facts", "reason", "quality")]
    series = [pa.field(name, pa.list_(number)) for name in (*SERIES, "input_losses")]
    whole = [] if compact else [pa.field("l_det", pa.list_(number))]
    return pa.schema([*texts, pa.field("inputs", pa.int32()), *series, *whole])


def _digest(table: pa.Table) -> str:
    """Hash the content of the table, independent of its encoding."""
    digest = hashlib.sha256()
    for name in table.column_names:
        digest.update(f"{name}\n".encode())
        for value in table.column(name):
            content = value.values.to_numpy().tobytes() if pa.types.is_list(value.type) else str(value.as_py()).encode()
            digest.update(f"{len(content)}\n".encode() + content)
    return digest.hexdigest()


def _row(recording: Recording, compact: bool) -> JsonDict:
    steps, quality = recording.steps, recording.quality
    if compact and not recording.losses_of(PAPER).size:
        raise InvalidInput(
            f"recording of {recording.concept!r} ({recording.key}) has no fixed inputs; pack it with --whole"
        )

    repeated = {name: values.tolist() for name, values in quality.repeated_scores.items()}

    def digits(seconds: Floats) -> list[float]:
        return [round(value, 6) for value in seconds.tolist()] if compact else seconds.tolist()

    row = {
        "key": recording.key,
        "identity": json.dumps(recording.identity.to_json(), sort_keys=True),
        "facts": json.dumps(recording.facts, sort_keys=True),
        "reason": recording.reason,
        "quality": json.dumps(
            {
                "steps": quality.steps.tolist(),
                "seconds": digits(quality.seconds),
                "samples_seconds": {name: digits(values) for name, values in quality.samples_seconds.items()},
                "scores": {name: values.tolist() for name, values in quality.scores.items()},
            }
            | ({"repeated_scores": repeated} if repeated else {})
        ),
        "inputs": steps.input_losses.shape[1],
        "input_losses": steps.input_losses.T.ravel(),  # input by input: neighbours in the file are similar
    }
    row |= {name: getattr(steps, name) for name in SERIES}
    return row if compact else row | {"l_det": steps.l_det}


def _recordings(table: pa.Table, path: Path) -> Iterator[Recording]:
    """Check each row and yield its recording.

    Raises:
        ValueError: a row is not what `_row` makes of a complete recording, or two rows are of the same run.
    """
    texts = table.select(list(_Row.model_fields))
    series = {name: _arrays(table.column(name)) for name in table.column_names if name not in _Row.model_fields}
    seen: set[str] = set()
    for number, fields in enumerate(texts.to_pylist(), 1):
        arrays = {name: next(rows) for name, rows in series.items()}
        try:
            recording = _recording(_validated(_Row, fields, "a text"), arrays)
            if recording.key in seen:
                raise ValueError(f"it has the run {recording.key} twice")
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from error
        seen.add(recording.key)
        yield recording


def _arrays(column: pa.ChunkedArray) -> Iterator[Floats]:
    """Yield the values of each row; they are never held as Python's numbers, which are four times as large."""
    for chunk in column.chunks:
        values, offsets = chunk.values.to_numpy(), chunk.offsets.to_numpy()
        for start, end in itertools.pairwise(offsets):
            yield values[start:end].astype(np.float64)


def _recording(row: _Row, series: dict[str, Floats]) -> Recording:
    identity = RunIdentity(decode_json(row.identity))
    if identity.key != row.key:
        raise ValueError(f"recording {quoted(row.key)} is not the run that it describes")
    check_name(identity.concept)
    facts = decode_facts(row.facts)
    steps = _steps(input_columns(facts, row.inputs), series, identity.budget)
    quality = _validated(_Quality, decode_json(row.quality), "quality")
    quality.check(len(steps))
    return Recording(
        identity=identity,
        facts=facts,
        state="complete",
        reason=row.reason,
        steps=steps,
        quality=Quality(
            steps=np.array(quality.steps, dtype=np.int64),
            scores={name: np.array(values, dtype=np.float64) for name, values in quality.scores.items()},
            seconds=np.array(quality.seconds, dtype=np.float64),
            samples_seconds={n: np.array(values, dtype=np.float64) for n, values in quality.samples_seconds.items()},
            repeated_scores={n: np.array(values, dtype=np.float64) for n, values in quality.repeated_scores.items()},
        ),
    )


def _steps(columns: InputColumns, series: dict[str, Floats], budget: int) -> Steps:
    """Return the steps table of a complete run.

    Raises:
        ValueError: the series differ in length from each other or from the budget, or L_det, a loss of the paper's
            batch or a time is not finite. Losses of other batches may be missing (NaN) where they were not evaluated.
    """
    inputs = len(columns)
    lengths = {
        name: len(values) // (inputs or 1) if name == "input_losses" else len(values) for name, values in series.items()
    }
    if inputs == 0:
        del lengths["input_losses"]
    if budget < MIN_STEPS or set(lengths.values()) != {budget} or len(series["input_losses"]) != inputs * budget:
        raise ValueError(
            f"its series have {quoted(lengths)} values of {inputs} inputs, but its budget is {budget} steps"
        )
    losses = np.ascontiguousarray(series["input_losses"].reshape(inputs, budget).T)
    papers = np.ascontiguousarray(losses[:, columns.of(PAPER)])
    if inputs and not papers.size:
        raise ValueError("it has inputs, but none of the paper's batch")
    l_det = series["l_det"] if "l_det" in series else papers.mean(axis=1)
    for name in ("seconds", "l_det_seconds"):
        if not (np.isfinite(series[name]).all() and (series[name] >= 0).all()):
            raise ValueError(f"{name} holds what is no time")
    if not (np.isfinite(l_det).all() and np.isfinite(papers).all()):
        raise ValueError("L_det is not finite at every step")
    return Steps(l_det=l_det, input_losses=losses, **{name: series[name] for name in SERIES})


def _validated(kind: type[_T], fields: Any, what: str) -> _T:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise ValueError(f"{what} is not understood: {explain(error)[0]}") from error
