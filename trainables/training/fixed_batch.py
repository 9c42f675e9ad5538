"""FixedBatch: inputs that are drawn once, whose loss L_det shows how training converges (paper, section 3.2)."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trainables import l_det
from trainables.data.inputs import SOURCES, Inputs, InputSource, pick
from trainables.data.randomness import Streams
from trainables.errors import InvalidInput
from trainables.l_det import PASS, REMEDIES, InputColumns
from trainables.methods.base import Method
from trainables.models.base import BaseModel
from trainables.settings import (
    PAPER,
    FixedBatchSettings,
    HeldOutSettings,
    LDetSchedule,
    StratifiedBatchSettings,
)
from trainables.types import JsonDict


class FixedBatch:
    """Inputs whose images, captions, latents, timesteps and noise are drawn once.

    Args:
        inputs: as they were drawn.
        name: of the batch, see `settings.BATCHES`.

    Example:
        A `Training` draws its own; L_det is the mean of the losses, and measuring it twice gives the same.

        >>> from trainables.methods.svdiff import SVDiff
        >>> from trainables.miniature import concepts, miniature_folder
        >>> from trainables.models.stable_diffusion import load
        >>> from trainables.settings import BaseModelSettings, FixedBatchSettings
        >>> from trainables.training.training import Training
        >>> base = load(miniature_folder(), BaseModelSettings())
        >>> (robot,) = concepts.load(["robot_1"])
        >>> with Training(base, SVDiff(), robot, fixed_batch=FixedBatchSettings(size=4)) as training:
        ...     row, batch = training.step(), training.fixed_batch
        ...     losses = batch.losses(base, training.method)
        >>> len(batch), sorted(batch.facts()[0])
        (4, ['caption', 'image', 'timestep'])
        >>> row.l_det == losses.mean().item()
        True
    """

    def __init__(self, inputs: Inputs, name: str = PAPER) -> None:
        self.inputs, self.name = inputs, name

    @classmethod
    def papers(cls, source: InputSource, settings: FixedBatchSettings) -> "FixedBatch":
        """Draw the paper's batch, timesteps without replacement, each source of randomness from its own stream.

        Raises:
            InvalidInput: the range holds fewer timesteps than inputs, or lies outside the noise schedule.
        """
        streams = Streams(settings.seed, "fixed batch", SOURCES)
        return cls(source.draw(settings.size, streams, _timesteps(source, settings, streams)))

    @classmethod
    def stratified(
        cls, source: InputSource, settings: StratifiedBatchSettings | HeldOutSettings, name: str
    ) -> "FixedBatch":
        """Draw a batch with a timestep from each of equal strata, each source of randomness from its own stream.

        Raises:
            InvalidInput: there are fewer timesteps above the floor than inputs.
        """
        streams = Streams(settings.seed, "stratified batch", SOURCES)
        timesteps = stratified_timesteps(source.base.timesteps, settings.size, settings.floor, streams["timesteps"])
        return cls(source.draw(settings.size, streams, timesteps), name)

    def __len__(self) -> int:
        """Return the number of inputs."""
        return len(self.inputs.images)

    @torch.no_grad()
    def losses(self, base: BaseModel, method: Method, rows: list[int] | None = None) -> Tensor:
        """Return the loss of every input, or of those at `rows`, shape (inputs,), float64 on the CPU.

        The plain mean squared error in float32 (no mask, no prior term). Measuring draws no random number and changes
        nothing. The paper's batch goes through the model at once, others in passes of `PASS` inputs.
        """
        if self.name == PAPER:
            return _losses(base, method, self.inputs if rows is None else pick(self.inputs, rows))
        rows = list(range(len(self))) if rows is None else rows
        passes = [rows[start : start + PASS] for start in range(0, len(rows), PASS)]
        full = [part + part[-1:] * (PASS - len(part)) for part in passes]
        losses = [_losses(base, method, pick(self.inputs, part)) for part in full]
        return torch.cat(losses)[: len(rows)]

    def facts(self) -> list[JsonDict]:
        """Describe every input as plain JSON: image, caption and timestep, and the batch unless it is the paper's."""
        rows = zip(self.inputs.images, self.inputs.captions, self.inputs.timesteps_b.tolist(), strict=True)
        batch = {} if self.name == PAPER else {"batch": self.name}
        return [{"image": image, "caption": caption, "timestep": timestep} | batch for image, caption, timestep in rows]


def _losses(base: BaseModel, method: Method, inputs: Inputs) -> Tensor:
    prediction = method.predict(base, inputs)
    errors = F.mse_loss(prediction.float(), inputs.target_bchw, reduction="none")
    return errors.mean(dim=(1, 2, 3)).cpu().double()


class LDetEvaluator:
    """Evaluates L_det during training when it is due, and remembers each input's latest loss.

    Args:
        batches: by name, in the order of the losses.
        schedule: how often, on which batch, and on how many inputs at a time.
        initial: loss of every input before the first step, shape (inputs,), float64.
        recorded: batches that are evaluated in full besides, for a recording: steps between evaluations by name.

    Attributes:
        latest: the latest loss of every input, shape (inputs,), float64.

    Raises:
        InvalidInput: the batch of the schedule is lacking, or has fewer inputs than an evaluation takes.
    """

    def __init__(
        self,
        batches: Mapping[str, FixedBatch],
        schedule: LDetSchedule,
        initial: Tensor,
        recorded: Mapping[str, int] | None = None,
    ) -> None:
        """Start from the losses before the first step, which count until an input's turn comes."""
        self._batches, self._schedule, self._initial, self.latest = batches, schedule, initial, initial.clone()
        for name in schedule.batches:
            if name not in batches:
                raise InvalidInput(f"L_det needs the {name} batch, which this run lacks; set {REMEDIES[name]}")
        self.inputs = input_columns(batches)
        self._first = {name: self.inputs.batches.index(name) for name in batches}
        self._terms = l_det.terms(self.inputs, schedule)
        self._recorded = {name: every for name, every in (recorded or {}).items() if name not in schedule.batches}

    @property
    def remembers(self) -> bool:
        """Whether earlier evaluations count in the next value, so that a checkpoint must hold `latest`."""
        return self._schedule.inputs is not None

    def nothing(self) -> Tensor:
        """Return the losses of a step after which nothing is evaluated: NaN, shape (inputs,)."""
        return torch.full_like(self.latest, math.nan)

    def measure(self, base: BaseModel, method: Method, step: int) -> tuple[float | None, Tensor]:
        """Evaluate what the schedule has due after a step.

        Returns:
            L_det, or None if no evaluation is due; and the loss of every input, NaN if it was not evaluated.
        """
        losses = self.nothing()
        if step % self._schedule.every:
            return None, losses
        for name, term in zip(self._schedule.batches, self._terms, strict=True):
            # The whole paper's batch at once, even if not every input counts: a smaller pass would round differently.
            is_whole = self._schedule.inputs is None and name == PAPER
            first, batch = self._first[name], self._batches[name]
            columns = range(first, first + len(batch)) if is_whole else term.due(step // self._schedule.every - 1)
            rows = None if is_whole else [column - first for column in columns]
            losses[list(columns)] = batch.losses(base, method, rows)
            self.latest[list(columns)] = losses[list(columns)]
        return self._value(), losses

    def record(self, base: BaseModel, method: Method, step: int, losses: Tensor) -> None:
        """Add to `losses` those of the batches that are only recorded, if they are due after a step."""
        for name, every in self._recorded.items():
            if step % every == 0:
                first = self._first[name]
                losses[first : first + len(self._batches[name])] = self._batches[name].losses(base, method)

    def _value(self) -> float:
        if self._schedule.is_papers:
            return self.latest[list(self._terms[0].columns)].mean().item()
        latest, initial = self.latest.numpy(), self._initial.numpy()
        with np.errstate(all="ignore"):  # what is not finite ends the training with a message
            return float(l_det.combined(latest, initial, self._terms, relative=self._schedule.relative))


def input_columns(batches: Mapping[str, FixedBatch]) -> InputColumns:
    """Return batch and timestep of every input, in the order of the losses."""
    return InputColumns(
        tuple(name for name, batch in batches.items() for _ in range(len(batch))),
        tuple(timestep for batch in batches.values() for timestep in batch.inputs.timesteps_b.tolist()),
    )


def stratified_timesteps(timesteps: int, size: int, floor: float, generator: torch.Generator) -> Tensor:
    """Draw a timestep in each of `size` equal strata above a floor, shape (size,), int64.

    Strata that follow each other in the result lie far apart: of 8, they are 0, 4, 2, 6, 1, 5, 3 and 7.

    Args:
        timesteps: length of the noise schedule.
        size: number of strata.
        floor: share of the schedule that is left out at its beginning, 0..1 without 1.
        generator: draws.

    Raises:
        InvalidInput: fewer timesteps than strata are left.
    """
    first = math.ceil(floor * timesteps)
    if timesteps - first < size:
        raise InvalidInput(
            f"above the floor of {floor:g}, the schedule has {timesteps - first} timesteps, fewer than the {size} "
            "inputs of the batch; lower either"
        )
    edges = [first + (timesteps - first) * index // size for index in range(size + 1)]
    drawn = [int(torch.randint(edges[i], edges[i + 1], (1,), generator=generator)) for i in range(size)]
    return torch.tensor([drawn[index] for index in _far_apart(size)])


def _far_apart(size: int) -> list[int]:
    """Return 0..size-1 by their bits read backwards."""
    bits = (size - 1).bit_length()
    reversed_bits = (int(f"{index:0{bits}b}"[::-1], 2) if bits else 0 for index in range(1 << bits))
    return [index for index in reversed_bits if index < size]


def _timesteps(source: InputSource, settings: FixedBatchSettings, streams: Streams) -> Tensor:
    first, last = settings.first_timestep, settings.last_timestep
    last = source.base.timesteps - 1 if last is None else last
    if not 0 <= first <= last < source.base.timesteps:
        raise InvalidInput(f"timesteps {first}..{last} lie outside the schedule's 0..{source.base.timesteps - 1}")
    if last - first + 1 < settings.size:
        raise InvalidInput(f"timesteps {first}..{last} are fewer than the {settings.size} inputs of the fixed batch")
    return first + torch.randperm(last - first + 1, generator=streams["timesteps"])[: settings.size]
