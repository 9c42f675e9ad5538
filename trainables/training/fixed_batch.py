"""FixedBatch: inputs that are drawn once, whose loss L_det shows how training converges (paper, section 3.2)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.data.inputs import SOURCES, Inputs, InputSource, pick
from trainables.data.randomness import Streams
from trainables.errors import InvalidInput
from trainables.methods.base import Method
from trainables.models.base import BaseModel
from trainables.settings import FixedBatchSettings, LDetSchedule
from trainables.types import JsonDict


class FixedBatch:
    """Inputs whose images, captions, latents, timesteps and noise are drawn once, timesteps without replacement.

    Args:
        source: draws the inputs.
        settings: size, seed and range of timesteps.

    Raises:
        InvalidInput: the range holds fewer timesteps than inputs, or lies outside the noise schedule.

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

    def __init__(self, source: InputSource, settings: FixedBatchSettings) -> None:
        """Draw the inputs, each source of randomness from its own stream, none of which training shares."""
        streams = Streams(settings.seed, "fixed batch", SOURCES)
        self.inputs: Inputs = source.draw(settings.size, streams, _timesteps(source, settings, streams))

    def __len__(self) -> int:
        """Return the number of inputs."""
        return len(self.inputs.images)

    @torch.no_grad()
    def losses(self, base: BaseModel, method: Method, rows: list[int] | None = None) -> Tensor:
        """Return the loss of every input, or of those at `rows`, shape (inputs,), float64 on the CPU.

        The plain mean squared error in float32 (no mask, no prior term). Measuring draws no random number and changes
        nothing.
        """
        inputs = self.inputs if rows is None else pick(self.inputs, rows)
        prediction = method.predict(base, inputs)
        errors = F.mse_loss(prediction.float(), inputs.target_bchw, reduction="none")
        return errors.mean(dim=(1, 2, 3)).cpu().double()

    def facts(self) -> list[JsonDict]:
        """Describe every input as plain JSON: image, caption and timestep."""
        rows = zip(self.inputs.images, self.inputs.captions, self.inputs.timesteps_b.tolist(), strict=True)
        return [{"image": image, "caption": caption, "timestep": timestep} for image, caption, timestep in rows]


class LDetEvaluator:
    """Evaluates L_det during training when it is due, and remembers each input's latest loss.

    Args:
        fixed_batch: the inputs.
        schedule: how often, and on how many inputs at a time.
        initial: loss of every input before the first step, shape (inputs,), float64.

    Attributes:
        latest: the latest loss of every input, shape (inputs,), float64.

    Raises:
        InvalidInput: the fixed batch has fewer inputs than an evaluation takes.
    """

    def __init__(self, fixed_batch: FixedBatch, schedule: LDetSchedule, initial: Tensor) -> None:
        """Start from the losses before the first step, which count until an input's turn comes."""
        if schedule.inputs is not None and schedule.inputs > len(fixed_batch):
            raise InvalidInput(
                f"L_det of {schedule.inputs} inputs at a time needs as many; the fixed batch has {len(fixed_batch)}"
            )
        self._fixed_batch, self._schedule, self._initial, self.latest = fixed_batch, schedule, initial, initial.clone()

    @property
    def remembers(self) -> bool:
        """Whether earlier evaluations count in the next value, so that a checkpoint must hold `latest`."""
        return self._schedule.inputs is not None

    def measure(self, base: BaseModel, method: Method, step: int) -> tuple[float | None, tuple[float, ...]]:
        """Evaluate what is due after a step.

        Returns:
            L_det, or None if no evaluation is due; and the loss of every input, NaN if it was not evaluated.
        """
        losses = torch.full_like(self.latest, math.nan)
        if step % self._schedule.every:
            return None, tuple(losses.tolist())
        rows = self._rows(step // self._schedule.every - 1)
        losses[rows] = self._fixed_batch.losses(base, method, None if self._schedule.inputs is None else rows)
        self.latest[rows] = losses[rows]
        values = self.latest / self._initial if self._schedule.relative else self.latest
        return values.mean().item(), tuple(losses.tolist())

    def _rows(self, turn: int) -> list[int]:
        count = len(self.latest)
        at_once = self._schedule.inputs or count
        return [(turn * at_once + index) % count for index in range(at_once)]


def _timesteps(source: InputSource, settings: FixedBatchSettings, streams: Streams) -> Tensor:
    first, last = settings.first_timestep, settings.last_timestep
    last = source.base.timesteps - 1 if last is None else last
    if not 0 <= first <= last < source.base.timesteps:
        raise InvalidInput(f"timesteps {first}..{last} lie outside the schedule's 0..{source.base.timesteps - 1}")
    if last - first + 1 < settings.size:
        raise InvalidInput(f"timesteps {first}..{last} are fewer than the {settings.size} inputs of the fixed batch")
    return first + torch.randperm(last - first + 1, generator=streams["timesteps"])[: settings.size]
