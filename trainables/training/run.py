"""TrainingRun: a concept's personalization from its start or a checkpoint to its end; without Ray."""

import math
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.models.base import BaseModel
from trainables.models.files import commit, resolve
from trainables.models.loading import load
from trainables.quality.clip import ClipScorer, QualityProbe
from trainables.quality.pictures import contact_sheet
from trainables.scratch import scratch_folder
from trainables.training.config import RunConfig
from trainables.training.report import L_DET, Report, RunState
from trainables.training.sinks import EndState, Sink, StepRow
from trainables.training.training import Training
from trainables.types import JsonDict

STATE_FILE = "training.safetensors"
SAMPLES_FILE = "samples.png"
MAX_BATCH_OF_ROWS = 1000
# The state of a whole U-Net is 10 GB: the next checkpoint waits this many times as long as writing the last took.
CHECKPOINT_PATIENCE = 20


class Preempted(RuntimeError):
    """The process must end; the training can continue elsewhere from the checkpoint that was just written."""


@dataclass(frozen=True)
class Models:
    """What is loaded once per process and serves every concept.

    Attributes:
        base: the base model, to which one method at a time is attached.
        scorer: the CLIP that scores samples; None if none are drawn.
    """

    base: BaseModel
    scorer: ClipScorer | None

    @classmethod
    def load(cls, config: RunConfig) -> "Models":
        """Load what the config names, on the GPU if any is visible, else on the CPU."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        base = load(resolve(config.base_model), config.base_model, device)
        return cls(base, ClipScorer(config.quality.scorer, device) if config.quality else None)


class TrainingRun:
    """Runs a `Training` against its budget and criterion, and reports everything that happens to a sink.

    Args:
        models: loaded once, used by a single run at a time.
        config: method, budget, criterion, and what to measure how often.
        concept: what to learn.
        sink: receives the facts; a checkpoint that it holds is continued.

    Attributes:
        training: the loop, whose base model is changed until `close`.
    """

    def __init__(self, models: Models, config: RunConfig, concept: Concept, sink: Sink) -> None:
        """Attach the method and prepare the scores; the sink hears nothing before `advance` or `load`."""
        self._config, self._sink = config, sink
        self.training = Training(
            models.base,
            config.method(),
            concept,
            seed=config.seed,
            fixed_batch=config.fixed_batch,
            stratified_batch=config.stratified_batch,
            held_out=config.held_out,
            l_det_schedule=config.l_det_schedule,
        )
        self._probe: QualityProbe | None = None
        if config.quality and models.scorer:
            try:
                phrase = self.training.method.phrase_for(concept)
                self._probe = QualityProbe(models.base, concept, config.quality, models.scorer, phrase)
            except BaseException:  # the next run must find the base model as it was
                self.training.close()
                raise
        self._checkpoint_wait = config.checkpoint_seconds
        self._restart([])
        self._has_begun = self._is_interrupted = False

    def _begin(self) -> None:
        """Continue from the sink's checkpoint, or start; put off until `advance`, since `load` may come first."""
        self._has_begun = True
        self._sink.started(self._facts())
        if folder := self._sink.checkpoint_folder():
            self.load(folder)
            return
        self._sink.resumed(0)
        if self._config.quality and self._config.quality.every:
            self._snapshot()

    def _facts(self) -> JsonDict:
        base, batches = self.training.base, self.training.batches.values()
        method, initial = self.training.method, self.training.initial_losses
        gpu = torch.cuda.get_device_name(base.device) if base.device.type == "cuda" else None
        # What a criterion has evaluated is timed step by step; a recording may be replayed under any schedule.
        costs = {} if self._config.criterion else {"l_det_costs": self.training.l_det_costs()}
        return costs | {
            "fixed_inputs": [about for batch in batches for about in batch.facts()],
            "initial_losses": [*initial] if all(map(math.isfinite, initial)) else [],
            "device": gpu or "CPU",
            "threads": torch.get_num_threads(),
            "method": dict(method.settings()),
            "usual": {"budget": method.budget, "window": method.window, "threshold": method.threshold},
            "base_model_commit": commit(base.folder),
            "versions": _versions("dvar-tune", "torch", "diffusers", "transformers", "peft"),
        }

    def _restart(self, values: list[float]) -> None:
        """Take `values` as the whole series so far, and feed them to a new criterion."""
        self._values, self._reported = values, 0
        self._online = self._config.criterion() if self._config.criterion else None
        self._fired = False
        for value in values:
            self._fired = self._observe(value)
        self._last_checkpoint = time.monotonic()

    def _observe(self, value: float) -> bool:
        return self._online.update(value) if self._online else False

    @property
    def state(self) -> RunState:
        """Whether the run is "running", "complete" (the budget is used up) or "stopped" (by its criterion)."""
        if self._fired:
            return "stopped"
        return "complete" if self.training.steps_done >= self._config.budget else "running"

    def interrupt(self) -> None:
        """Let `advance` end after the current step; safe to call from a signal handler."""
        self._is_interrupted = True

    def advance(self) -> Report:
        """Train until a report is due or the end is reached; no step follows the stop.

        Raises:
            NonFiniteLossError: a loss became NaN or infinite; what was recorded is kept, and the sink hears of it.
            Preempted: `interrupt` was called; a checkpoint of the last step is written.
        """
        if not self._has_begun:
            self._begin()  # outside the try block: a failure here must not end a recording that belongs to another
        try:
            rows, scores = self._train()
        except Preempted:
            raise
        except Exception as error:
            self._sink.ended("failed", f"{type(error).__name__}: {error}", traceback.format_exc())
            raise
        return self._report(rows, scores)

    def _train(self) -> tuple[list[StepRow], dict[str, float]]:
        """Train until a report is due or the end is reached; return the new steps, and the scores of a snapshot."""
        rows: list[StepRow] = []
        scores: dict[str, float] = {}
        due = time.monotonic() + self._config.report_seconds
        while self.state == "running" and not self._report_is_due(len(rows), due):
            rows.append(self._step())
            if self._snapshot_is_due():
                scores = self._snapshot()
        if self.state == "running":
            if self._is_interrupted:
                self._checkpoint()
                done = self.training.steps_done
                raise Preempted(f"{self.training.concept.name!r} was interrupted; it continues after step {done}")
            self._checkpoint_when_due()
        elif rows:
            self._end()
        return rows, scores

    def _report_is_due(self, rows: int, due: float) -> bool:
        limit = self._config.report_steps or MAX_BATCH_OF_ROWS
        if self._is_interrupted:
            return True
        return rows >= limit or (rows > 0 and self._config.report_steps is None and time.monotonic() >= due)

    def _step(self) -> StepRow:
        row = self.training.step()
        self._sink.steps([row])
        self._values.append(math.nan if row.l_det is None else row.l_det)
        self._fired = self._observe(self._values[-1])
        return row

    def _report(self, rows: list[StepRow], scores: Mapping[str, float]) -> Report:
        first, self._reported = self._reported + 1, len(self._values)
        return Report(
            step=self.training.steps_done,
            first_step=first,
            l_det=tuple(self._values[first - 1 :]),
            state=self.state,
            metrics=self._metrics(self._values[first - 1 :], rows, scores),
        )

    def _metrics(
        self, values: Sequence[float], rows: Sequence[StepRow], scores: Mapping[str, float]
    ) -> dict[str, float]:
        """Return the latest values by name; what was not measured is absent."""
        metrics = dict(scores)
        if evaluated := [value for value in values if math.isfinite(value)]:
            metrics[L_DET] = evaluated[-1]
        if rows:
            metrics |= {"train_loss": rows[-1].train_loss, "grad_norm": rows[-1].grad_norm}
        return metrics

    def _snapshot_is_due(self) -> bool:
        if self._config.quality is None:
            return False
        every = self._config.quality.every
        return self.state != "running" or (every is not None and self.training.steps_done % every == 0)

    def _snapshot(self) -> dict[str, float]:
        """Score samples of what is trained so far, and hand them to the sink with the adapter."""
        assert self._probe is not None
        measured = self._probe.measure()
        repeated_scores = self._repeated_scores()
        with scratch_folder() as folder:
            if self.training.method.has_small_export or self.state != "running":
                self.training.method.export(folder)
            contact_sheet(measured.images).save(folder / SAMPLES_FILE)
            self._sink.snapshot(self.training.steps_done, measured.scores, measured.seconds, folder, repeated_scores)
        return measured.scores

    def _repeated_scores(self) -> dict[str, list[float]]:
        """Score the end of a full-length run again, with other starting noise; empty at other snapshots.

        An interruption loses the snapshot as well as its repeats: both are taken again when the end is reached.
        """
        assert self._probe is not None
        assert self._config.quality is not None
        if self.state != "complete" or self._config.criterion is not None:
            return {}
        repeats = [self._probe.measure(repeat).scores for repeat in range(1, self._config.quality.repeats + 1)]
        return {name: [scores[name] for scores in repeats] for name in (repeats[0] if repeats else ())}

    def _end(self) -> None:
        state: EndState = "stopped" if self._fired else "complete"
        if self._config.quality is None:
            with scratch_folder() as folder:
                self.training.method.export(folder)
                self._sink.snapshot(self.training.steps_done, {}, {}, folder)
        reason = "the criterion fired" if self._fired else "the budget is used up"
        self._sink.ended(state, f"{reason} at step {self.training.steps_done}")

    def _checkpoint_when_due(self) -> None:
        begun = time.monotonic()
        if begun - self._last_checkpoint < self._checkpoint_wait:
            return
        self._checkpoint()
        self._last_checkpoint = time.monotonic()
        if self._config.checkpoint_seconds:
            duration = self._last_checkpoint - begun
            self._checkpoint_wait = max(self._config.checkpoint_seconds, CHECKPOINT_PATIENCE * duration)

    def _checkpoint(self) -> None:
        with scratch_folder() as folder:
            self.save(folder)
            self._sink.checkpoint(self.training.steps_done, folder)

    def save(self, folder: Path) -> None:
        """Write the exact state, and all values of L_det so far, into `folder`, which exists."""
        values = torch.tensor(self._values, dtype=torch.float64)
        save_file(self.training.state_dict() | {"l_det": values}, folder / STATE_FILE)

    def load(self, folder: Path) -> None:
        """Continue from a state that `save` wrote; the sink forgets what came later.

        Raises:
            InvalidInput: the file is missing or damaged.
        """
        try:
            state = load_file(folder / STATE_FILE)
        except Exception as error:  # safetensors raises its own kinds, all of which mean: damaged
            raise InvalidInput(f"checkpoint {folder / STATE_FILE} cannot be read: {error}") from error
        if not self._has_begun:
            self._has_begun = True
            self._sink.started(self._facts())
        values = state.pop("l_det").tolist()
        self.training.load_state_dict(state)
        self._sink.resumed(self.training.steps_done)
        self._restart(values)

    def close(self) -> None:
        """Detach the method: the base model is what it was before, ready for the next run."""
        self.training.close()


def _versions(*names: str) -> dict[str, str]:
    """Return the versions of the distributions that are installed; the packages also run from a plain checkout."""
    versions = {}
    for name in names:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
