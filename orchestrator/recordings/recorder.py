"""Recorder: writes a recording while its training runs; the orchestrator's `trainables.training.sinks.Sink`."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args
from uuid import uuid4

import numpy as np

from orchestrator.recordings import format as layout
from orchestrator.recordings import reading
from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.ownership import Ownership, Permit, RecordingConflict, always
from orchestrator.recordings.recording import DONE, Floats, State
from orchestrator.storage.files import Files
from orchestrator.storage.passwords import without_passwords
from orchestrator.storage.retry import StorageFailure, StorageFull
from orchestrator.storage.sealed import encode_json
from trainables.errors import InvalidInput
from trainables.training.sinks import NO_SCORES, EndState, StepRow
from trainables.types import JsonObject

FLUSH_SECONDS = 2.0
# The table is a single file, rewritten at each flush. A flush waits this many times as long as the last flush took, so
# that writing takes at most a twentieth of the time, however long the run and slow the storage.
PATIENCE = 20


class Recorder:
    """Writes what a training reports to the folder of its recording. Nothing is written before `started`.

    Rows are buffered for some seconds. A killed process loses buffered rows, but never rows that a checkpoint or a
    snapshot covers, so training repeats exactly what was lost. An unfinished recording is continued.

    Args:
        files: the recording's own folder.
        identity: what determines the run.
        flush_seconds: minimum time for which rows are buffered.
        role: begins the token of the writer in the status: what writes, if it is no training.
        permit: asked before the recording is begun or taken over: whoever sent us may have been replaced meanwhile.
    """

    def __init__(
        self,
        files: Files,
        identity: RunIdentity,
        flush_seconds: float = FLUSH_SECONDS,
        permit: Permit = always,
        *,
        role: str = "",
    ) -> None:
        self._files, self._identity, self._flush_seconds = files, identity, flush_seconds
        self._writer = f"{role}{uuid4().hex}"
        self._owner = Ownership(files, self._writer, permit)
        self._rows: list[list[float]] = []
        self._quality: list[layout.QualityRow] = []
        self._state: State = "running"
        self._reason = ""
        self._facts = b""
        self._flushed = 0
        self._last_flush = time.monotonic()
        self._wait = flush_seconds

    def started(self, facts: JsonObject) -> None:
        """Begin the recording, or continue what an earlier process left.

        Args:
            facts: of the training: fixed inputs, device, versions.

        Raises:
            InvalidInput: the recording is complete, stopped or damaged.
            RecordingConflict: another process took the recording over at this moment, or may do so in our place.
        """
        self._refuse_if_done(reading.read_status(self._files))
        self._owner.claim()
        contents = reading.read_contents(self._files)  # after the claim: what comes later is not the recording's
        self._facts = encode_json(facts)
        self._write(layout.FACTS, self._facts)
        if contents is None:
            self._files.write(layout.MANIFEST, layout.encode_manifest(self._identity))
            self._write_status()
        else:
            self._take_over(contents)
        self._remove_leftovers()

    def _refuse_if_done(self, status: layout.Status | None) -> None:
        if status is not None and status.state in DONE:
            raise InvalidInput(f"{self._files.url} is {status.state} already and is never recorded twice")

    def _take_over(self, contents: layout.Contents) -> None:
        """Continue what an earlier writer left. Until our status is written, the recording is still the other's."""
        self._refuse_if_done(contents.status)
        if contents.identity != self._identity:
            raise layout.damaged(self._files, layout.MANIFEST, f"it is of another recording ({contents.identity.key})")
        self._rows, self._quality = contents.values.tolist(), list(contents.quality)
        checkpoint = reading.read_checkpoint(self._files, contents.status.number)
        if checkpoint is not None:
            folder = layout.new_checkpoint_name(checkpoint.step)  # the other's own may vanish when it wakes up
            for name in checkpoint.files:
                self._files.copy(f"{checkpoint.folder}/{name}", f"{folder}/{name}")
            self._write_checkpoint(replace(checkpoint, folder=folder))
        self._write_tables()
        self._write_status()
        self._remove_earlier_writers()

    def _remove_earlier_writers(self) -> None:
        """Remove the files of writers before us, except the snapshots, which belong to the recording."""
        there = self._files.children()
        names = [
            layout.of_writer(file, number)
            for file in layout.WRITER_FILES
            for number in layout.writers_of(file, there)
            if number < self._owner.number
        ]
        self._owner.check()
        for name in names:
            self._files.remove(name)
        checkpoint = reading.read_checkpoint(self._files, self._owner.number)
        self._remove_checkpoints(except_folder=checkpoint.folder if checkpoint else None)

    def _remove_checkpoints(self, except_folder: str | None) -> None:
        """Remove all checkpoints but one. They are listed before we ask for the ownership: a later writer's are not."""
        names = [name for name in self._files.children(layout.CHECKPOINTS) if layout.is_checkpoint(name)]
        self._owner.check()
        for name in names:
            if f"{layout.CHECKPOINTS}/{name}" != except_folder:
                self._files.remove(f"{layout.CHECKPOINTS}/{name}")
        self._files.remove_if_empty(layout.CHECKPOINTS)

    def _remove_leftovers(self) -> None:
        """Remove partial files, which are listed before we ask for the ownership: a later writer's are not."""
        names = self._files.leftovers()
        self._owner.check()
        for name in names:
            self._files.remove(name)

    def checkpoint_folder(self) -> Path | None:
        """Return a local, read-only folder with the newest checkpoint's files, or None if there is no checkpoint.

        Raises:
            InvalidInput: the checkpoint is damaged.
        """
        checkpoint = self._checkpoint()
        return None if checkpoint is None else reading.fetch(self._files, checkpoint.folder, checkpoint.files)

    def _checkpoint(self) -> layout.Checkpoint | None:
        number = self._owner.number
        if not number:
            status = reading.read_status(self._files)
            number = status.number if status else 1
        return reading.read_checkpoint(self._files, number)

    def resumed(self, step: int) -> None:
        """Drop every row and snapshot after `step`, from which training continues.

        Raises:
            InvalidInput: fewer than `step` steps are recorded.
        """
        if step > len(self._rows):
            raise InvalidInput(
                f"training continues after step {step}, but {self._files.url} holds {len(self._rows)} steps; "
                "delete that folder and record again"
            )
        self._rows = self._rows[:step]
        self._quality = [row for row in self._quality if row["step"] <= step]
        checkpoint = self._checkpoint()
        # The status is written before anything is removed: a reader that sees less than it counts reports damage.
        self._write_status()
        if checkpoint is not None and checkpoint.step > step:
            self._files.remove(layout.of_writer(layout.CHECKPOINT, self._owner.number))
        self._write_tables()

    def steps(self, rows: Sequence[StepRow]) -> None:
        """Append rows, which are buffered until the next flush.

        Raises:
            ValueError: a row does not follow the last step, or has another number of fixed inputs.
        """
        for row in rows:
            self._rows.append(self._values(row))
        if time.monotonic() - self._last_flush >= self._wait:
            self._flush()

    def imported(self, rows: Sequence[StepRow], snapshots: Sequence[layout.QualityRow]) -> None:
        """Replace everything by what is known already; `ended` writes it, all at once.

        Raises:
            ValueError: rows are not numbered from 1, or differ in their number of fixed inputs.
        """
        self._rows, self._quality = [], list(snapshots)
        for row in rows:
            self._rows.append(self._values(row))

    def _values(self, row: StepRow) -> list[float]:
        if row.step != len(self._rows) + 1:
            raise ValueError(f"step {row.step} does not follow the last recorded step {len(self._rows)}")
        l_det = math.nan if row.l_det is None else row.l_det
        values = [l_det, row.train_loss, row.grad_norm, row.seconds, row.l_det_seconds, *row.input_losses]
        if self._rows and len(values) != len(self._rows[0]):
            raise ValueError(f"step {row.step} has {len(row.input_losses)} fixed inputs, unlike the steps before it")
        return values

    def snapshot(
        self,
        step: int,
        scores: Mapping[str, float],
        seconds: Mapping[str, float],
        files: Path,
        repeated_scores: Mapping[str, Sequence[float]] = NO_SCORES,
    ) -> None:
        """Keep a snapshot's scores and files.

        Args:
            step: optimizer steps done; the rows up to it must have been received.
            scores: metric to score.
            seconds: samples to the time that drawing and scoring them took.
            files: local folder with the adapter and samples.
            repeated_scores: metric to the scores of further samples.

        Raises:
            ValueError: `step` is not the last recorded step.
        """
        self._must_hold(step, "snapshot")
        self._flush()
        folder = layout.snapshot_name(step, self._owner.number)
        stored = self._files.put_folder(folder, files)
        # A training that restarts before its first checkpoint takes its first snapshot again.
        self._quality = [row for row in self._quality if row["step"] != step]
        self._quality.append(layout.quality_row(step, scores, seconds, folder, stored, repeated_scores))
        self._write_tables()
        self._write_status()

    def checkpoint(self, step: int, files: Path) -> None:
        """Replace the checkpoint; a kill at any moment leaves either the old checkpoint or the new one intact.

        Raises:
            ValueError: `step` is not the last recorded step.
        """
        self._must_hold(step, "checkpoint")
        self._flush()
        folder = layout.new_checkpoint_name(step)
        try:
            stored = self._files.put_folder(folder, files)
            self._owner.check()
        except (StorageFull, RecordingConflict):
            self._files.remove(folder)  # a checkpoint that is partial, or nobody's, takes space and is of no use
            raise
        self._write_checkpoint(layout.Checkpoint(step, folder, stored))
        self._remove_checkpoints(except_folder=folder)

    def _write_checkpoint(self, checkpoint: layout.Checkpoint) -> None:
        self._write(layout.CHECKPOINT, layout.encode_checkpoint(checkpoint))

    def _must_hold(self, step: int, what: str) -> None:
        if step != len(self._rows):
            raise ValueError(f"a {what} of step {step} came after {len(self._rows)} recorded steps")

    def ended(self, state: EndState, reason: str, trace: str = "") -> None:
        """Close the recording; unless the state is "failed", remove the checkpoint, which is no longer needed.

        If the storage cannot even take a failure, the recording stays as it is, still running.

        Args:
            state: how the run ended.
            reason: why it ended.
            trace: traceback of a failed run.

        Raises:
            ValueError: the state is unknown.
        """
        if state not in get_args(EndState):
            raise ValueError(f"unknown end state {state!r}")
        # What a storage or a model answers may hold the address that it was asked for, with its password.
        self._state, self._reason, trace = state, without_passwords(reason), without_passwords(trace)
        # The caller that reports a failure raises it too. The storage must not hide the reason; often it is the reason.
        with suppress(StorageFailure) if state == "failed" else nullcontext():
            self._close(state, trace)

    def _close(self, state: EndState, trace: str) -> None:
        self._write_tables()
        if trace:
            self._write(layout.TRACEBACK, trace.encode())
        self._write_status(trace)
        if state != "failed":
            with suppress(StorageFailure):  # the leftovers take space, but the recording is complete without them
                self._files.remove(layout.of_writer(layout.CHECKPOINT, self._owner.number))
                self._remove_checkpoints(except_folder=None)

    def _flush(self) -> None:
        if self._flushed == len(self._rows):
            return
        start = time.monotonic()
        self._owner.check()
        self._write(layout.STEPS, layout.encode_steps(self._table()))
        self._flushed = len(self._rows)
        self._write_status()
        self._last_flush = time.monotonic()
        self._wait = max(self._flush_seconds, PATIENCE * (self._last_flush - start))

    def _table(self) -> Floats:
        return np.array(self._rows, dtype=np.float64) if self._rows else np.empty((0, len(layout.VALUES)))

    def _write(self, name: str, data: bytes) -> None:
        """Write a file under the name that only this writer uses."""
        self._files.write(layout.of_writer(name, self._owner.number), data)

    def _write_tables(self) -> None:
        self._owner.check()
        self._write(layout.QUALITY, layout.encode_quality(self._quality))
        self._write(layout.STEPS, layout.encode_steps(self._table()))
        self._flushed = len(self._rows)

    def _write_status(self, trace: str = "") -> None:
        contents = {layout.FACTS: self._facts}
        if self._state != "running":
            contents |= {
                layout.STEPS: layout.encode_steps(self._table()),
                layout.QUALITY: layout.encode_quality(self._quality),
            }
        if trace:
            contents[layout.TRACEBACK] = trace.encode()
        hashes = {name: layout.sha256(data) for name, data in contents.items()}
        steps, snapshots = min(self._flushed, len(self._rows)), len(self._quality)
        self._owner.check()
        status = layout.Status(self._state, self._reason, steps, snapshots, self._writer, hashes, self._owner.number)
        self._write(layout.STATUS, layout.encode_status(status))
