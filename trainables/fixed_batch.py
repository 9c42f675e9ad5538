"""FixedBatch: inputs that are drawn once, whose loss L_det shows what training achieves (paper, section 3.2)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.base_model import BaseModel
from trainables.errors import InvalidInput
from trainables.inputs import SOURCES, Inputs, InputSource
from trainables.methods.base import Method
from trainables.randomness import Streams
from trainables.settings import FixedBatchSettings


class FixedBatch:
    """Inputs of which images, captions, latents, timesteps and noise were drawn once, timesteps without replacement.

    Args:
        source: where inputs come from.
        settings: size, seed and range of timesteps.

    Raises:
        InvalidInput: the range holds fewer timesteps than inputs, or lies outside the noise schedule.
    """

    def __init__(self, source: InputSource, settings: FixedBatchSettings) -> None:
        streams = Streams(settings.seed, "fixed batch", SOURCES)
        self.inputs: Inputs = source.draw(settings.size, streams, _timesteps(source, settings, streams))

    @torch.no_grad()
    def losses(self, base: BaseModel, method: Method) -> Tensor:
        """Return the loss of every input, shape (inputs,), float64 on the CPU.

        Plain mean squared error in float32 (no mask, no prior term). It draws no random number and changes nothing.
        """
        prediction = method.denoise(base, self.inputs)
        errors = F.mse_loss(prediction.float(), self.inputs.target_bchw, reduction="none")
        return errors.mean(dim=(1, 2, 3)).cpu().double()

    def facts(self) -> list[dict[str, Any]]:
        """Describe every input as plain JSON: image, caption and timestep."""
        rows = zip(self.inputs.images, self.inputs.captions, self.inputs.timesteps_b.tolist(), strict=True)
        return [{"image": image, "caption": caption, "timestep": timestep} for image, caption, timestep in rows]


def _timesteps(source: InputSource, settings: FixedBatchSettings, streams: Streams) -> Tensor:
    first, last = settings.first_timestep, settings.last_timestep
    last = source.base.timesteps - 1 if last is None else last
    if not 0 <= first <= last < source.base.timesteps:
        raise InvalidInput(f"timesteps {first}..{last} lie outside the schedule's 0..{source.base.timesteps - 1}")
    if last - first + 1 < settings.size:
        raise InvalidInput(f"timesteps {first}..{last} are fewer than the {settings.size} inputs of the fixed batch")
    return first + torch.randperm(last - first + 1, generator=streams["timesteps"])[: settings.size]
