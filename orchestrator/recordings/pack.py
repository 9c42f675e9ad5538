"""Packs: many recordings in a single small file, to ship, send and publish; without checkpoints, samples and adapters.

A pack is a Parquet file with a row per recording: identity and facts as JSON, and the series as lists. A compact pack
has single precision and no column for L_det, which is the mean of the fixed inputs' losses.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.recording import Floats, Quality, Recording, Steps
from orchestrator.storage.atomic import replacing
from trainables.errors import InvalidInput
from trainables.text import first_line
from trainables.types import JsonDict

FORMAT = 1
SERIES = ("train_loss", "grad_norm", "seconds", "l_det_seconds")


def write_pack(recordings: Sequence[Recording], path: Path, *, compact: bool = True) -> None:
    """Write recordings into a single file.

    Args:
        recordings: complete recordings; those without fixed inputs cannot be compact.
        path: of the file; its folder must exist.
        compact: whether to round series to single precision: a quarter of the size, and the same stops except where a
            variance lies within a millionth of its threshold.

    Raises:
        InvalidInput: there is no recording, a recording is not complete or cannot be compact, two are of the same run,
            or the file cannot be written.
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
        table = pq.read_table(path, page_checksum_verification=True)
        about = json.loads(table.schema.metadata[b"pack"])
        if about["format"] != FORMAT:
            raise InvalidInput(f"{path} has format {about['format']}, but this version of the program reads {FORMAT}")
        if about["sha256"] != _digest(table):
            raise InvalidInput(
                f"{path} is damaged: its content does not match the hash that it states; get the file again"
            )
        recordings = [_recording(row, path) for row in table.to_pylist()]
    except FileNotFoundError as error:
        raise InvalidInput(f"there is no pack of recordings at {path}") from error
    except InvalidInput:
        raise
    except Exception as error:  # Arrow raises many kinds; each means that the file is damaged or not a pack
        problem = f"is no pack of recordings, or damaged ({first_line(error)})"
        raise InvalidInput(f"{path} {problem}; get the file again") from error
    return sorted(recordings, key=lambda recording: (recording.concept, recording.key))


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
    if compact and not steps.input_losses.size:
        raise InvalidInput(
            f"recording of {recording.concept!r} ({recording.key}) has no fixed inputs; pack it with --whole"
        )

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
        ),
        "inputs": steps.input_losses.shape[1],
        "input_losses": steps.input_losses.T.ravel(),  # input by input: neighbours in the file are similar
    }
    row |= {name: getattr(steps, name) for name in SERIES}
    return row if compact else row | {"l_det": steps.l_det}


def _recording(row: JsonDict, path: Path) -> Recording:
    identity, quality = RunIdentity(json.loads(row["identity"])), json.loads(row["quality"])
    if identity.key != row["key"]:
        raise InvalidInput(
            f"{path} is damaged: recording {row['key']!r} is not the run that it describes; get the file again"
        )
    inputs: Floats = np.array(row["input_losses"], dtype=np.float64).reshape(row["inputs"], -1).T
    l_det = inputs.mean(axis=1) if "l_det" not in row else np.array(row["l_det"], dtype=np.float64)
    return Recording(
        identity=identity,
        facts=json.loads(row["facts"]),
        state="complete",
        reason=row["reason"],
        steps=Steps(
            l_det=l_det,
            input_losses=np.ascontiguousarray(inputs),
            **{name: np.array(row[name], dtype=np.float64) for name in SERIES},
        ),
        quality=Quality(
            steps=np.array(quality["steps"], dtype=np.int64),
            scores={name: np.array(values) for name, values in quality["scores"].items()},
            seconds=np.array(quality["seconds"], dtype=np.float64),
            samples_seconds={name: np.array(values) for name, values in quality.get("samples_seconds", {}).items()},
        ),
    )
