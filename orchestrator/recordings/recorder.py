"""Recorder: writes a recording while its training runs; the orchestrator's `trainables.training.sinks.Sink`."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import get_args
from uuid import uuid4

import numpy as np

from orchestrator.recordings import format as layout
from orchestrator.recordings import reading
from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.recording import DONE, Floats, State
from orchestrator.storage.files import Files
from orchestrator.storage.passwords import without_passwords
from orchestrator.storage.retry import StorageFailure, StorageFull
from trainables.errors import InvalidInput
from trainables.training.sinks import EndState, StepRow
from trainables.types import JsonObject

FLUSH_SECONDS = 2.0
# The table is a single file, rewritten at each flush. A flush waits this many times as long as the last flush took, so
# that writing takes at most a twentieth of the time, however long the run and slow the storage.
PATIENCE = 20


class RecordingConflict(RuntimeError):
    """Another process has begun to write the same recording; this process must stop."""


class Recorder:
    """Writes what a training reports to the folder of its recording. Nothing is written before `started`.

    Rows are buffered for some seconds. A killed process loses buffered rows, but never rows that a checkpoint or a
    snapshot covers, so training repeats exactly what was lost. An unfinished recording is continued.

    Args:
        files: the recording's own folder.
        identity: what determines the run.
        flush_seconds: minimum time for which rows are buffered.
        role: begins the token of the writer in the status: what writes, if it is no training.
    """

    def __init__(
        self, files: Files, identity: RunIdentity, flush_seconds: float = FLUSH_SECONDS, role: str = ""
    ) -> None:
        self._files, self._identity, self._flush_seconds = files, identity, flush_seconds
        self._writer = f"{role}{uuid4().hex}"
        self._rows: list[list[float]] = []
        self._quality: list[layout.QualityRow] = []
        self._state: State = "running"
        self._reason = ""
        self._facts = b""
        self._is_owner = False
        self._flushed = 0
        self._last_flush = time.monotonic()
        self._wait = flush_seconds

    def started(self, facts: JsonObject) -> None:
        """Begin the recording, or continue what an earlier process left.

        Args:
            facts: of the training: fixed inputs, device, versions.

        Raises:
            InvalidInput: the recording is complete, stopped or damaged.
        """
        contents = reading.read_contents(self._files)
        if contents is not None:
            if contents.status.state in DONE:
                raise InvalidInput(f"{self._files.url} is {contents.status.state} already and is never recorded twice")
            self._rows, self._quality = contents.values.tolist(), list(contents.quality)
            self._flushed = len(self._rows)
            # A failed recording's status has hashes, which must go before any file changes: otherwise a death here
            # would look like damage.
            self._write_status()
        self._files.remove_leftovers()
        self._files.remove(layout.TRACEBACK)
        self._files.write(layout.MANIFEST, layout.encode_manifest(self._identity))
        self._facts = layout.encode_json(facts)
        self._files.write(layout.FACTS, self._facts)
        self._write_status()

    def checkpoint_folder(self) -> Path | None:
        """Return a local, read-only folder with the newest checkpoint's files, or None if there is no checkpoint.

        Raises:
            InvalidInput: the checkpoint is damaged.
        """
        checkpoint = reading.read_checkpoint(self._files)
        if checkpoint is None:
            return None
        return self._files.fetch(checkpoint.folder, checkpoint.files)

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
        checkpoint = reading.read_checkpoint(self._files)
        # The status is written before anything is removed: a reader that sees less than it counts reports damage.
        self._write_status()
        if checkpoint is not None and checkpoint.step > step:
            self._files.remove(layout.CHECKPOINT)
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

    def snapshot(self, step: int, scores: Mapping[str, float], seconds: Mapping[str, float], files: Path) -> None:
        """Keep a snapshot's scores and files.

        Args:
            step: optimizer steps done; the rows up to it must have been received.
            scores: metric to score.
            seconds: samples to the time that drawing and scoring them took.
            files: local folder with the adapter and samples.

        Raises:
            ValueError: `step` is not the last recorded step.
        """
        self._must_hold(step, "snapshot")
        self._flush()
        sizes = self._files.put_folder(layout.snapshot_name(step), files)
        # A training that restarts before its first checkpoint takes its first snapshot again.
        self._quality = [row for row in self._quality if row["step"] != step]
        self._quality.append(layout.quality_row(step, scores, seconds, sizes))
        self._write_tables()
        self._write_status()

    def checkpoint(self, step: int, files: Path) -> None:
        """Replace the checkpoint; a kill at any moment leaves either the old checkpoint or the new one intact.

        Raises:
            ValueError: `step` is not the last recorded step.
        """
        self._must_hold(step, "checkpoint")
        self._flush()
        folder = f"checkpoint/step-{step:06d}-{uuid4().hex[:8]}"
        try:
            sizes = self._files.put_folder(folder, files)
        except StorageFull:
            self._files.remove(folder)  # a partial checkpoint takes space and is of no use
            raise
        self._check_owner()
        self._files.write(layout.CHECKPOINT, layout.encode_record(layout.Checkpoint(step, folder, sizes)))
        for name in self._files.children("checkpoint"):
            if f"checkpoint/{name}" != folder:
                self._files.remove(f"checkpoint/{name}")

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
            self._files.write(layout.TRACEBACK, trace.encode())
        self._write_status()
        if state != "failed":
            with suppress(StorageFailure):  # the leftovers take space, but the recording is complete without them
                self._files.remove(layout.CHECKPOINT)
                self._files.remove("checkpoint")

    def _flush(self) -> None:
        if self._flushed == len(self._rows):
            return
        start = time.monotonic()
        self._files.write(layout.STEPS, layout.encode_steps(self._table()))
        self._flushed = len(self._rows)
        self._write_status()
        self._last_flush = time.monotonic()
        self._wait = max(self._flush_seconds, PATIENCE * (self._last_flush - start))

    def _table(self) -> Floats:
        return np.array(self._rows, dtype=np.float64) if self._rows else np.empty((0, len(layout.VALUES)))

    def _write_tables(self) -> None:
        self._check_owner()
        self._files.write(layout.QUALITY, layout.encode_quality(self._quality))
        self._files.write(layout.STEPS, layout.encode_steps(self._table()))
        self._flushed = len(self._rows)

    def _write_status(self) -> None:
        hashes = {} if self._state == "running" else self._hashes()
        self._check_owner()
        status = layout.Status(
            self._state, self._reason, min(self._flushed, len(self._rows)), len(self._quality), self._writer, hashes
        )
        self._files.write(layout.STATUS, layout.encode_record(status))
        self._is_owner = True

    def _hashes(self) -> dict[str, str]:
        tables = {
            layout.STEPS: layout.encode_steps(self._table()),
            layout.QUALITY: layout.encode_quality(self._quality),
        }
        return {name: layout.sha256(data) for name, data in (tables | {layout.FACTS: self._facts}).items()}

    def _check_owner(self) -> None:
        """Check that no other process has taken the recording over since this recorder first wrote its status.

        Raises:
            RecordingConflict: another process has.
        """
        status = reading.read_status(self._files) if self._is_owner else None
        if status is not None and status.writer != self._writer:
            raise RecordingConflict(f"another process is writing {self._files.url}; stop either of the two")
