"""CLIP: images and captions in a joint space; false captions with swapped colours teach which colour belongs where."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.miniature.models import Sizes, make_clip, make_tokenizer
from trainables.miniature.pretraining.data import SWAPPED, Data
from trainables.miniature.pretraining.loop import Task

if TYPE_CHECKING:
    from transformers import CLIPModel


def normalized(images_bchw: Tensor) -> Tensor:
    """Normalize images of bytes as CLIP's image processor does; same shape, float32."""
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    mean, std = (torch.tensor(x, device=images_bchw.device).view(3, 1, 1) for x in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    return (images_bchw.float() / 255 - mean) / std


class ClipTask(Task):
    """Trains transformers' `CLIPModel` contrastively (Radford et al., 2021)."""

    network: "CLIPModel"

    def __init__(self, sizes: Sizes, data: Data, device: torch.device) -> None:
        self.network = make_clip(sizes, make_tokenizer()).to(device).train()
        self._data, self._device = data, device

    def draw(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw images of random toys, each with a true caption, half of them complete, and with its false caption."""
        toys = torch.randint(len(self._data) // self._data.views, (size,), generator=generator, device=self._device)
        views = torch.randint(self._data.views, (size,), generator=generator, device=self._device)
        chosen = toys * self._data.views + views
        wording = (torch.randint(6, (size,), generator=generator, device=self._device) - 2).clamp(min=0)
        tokens = self._data.tokens_bkl[chosen]
        true = tokens.gather(1, wording.view(-1, 1, 1).expand(-1, 1, tokens.shape[-1]))[:, 0]
        return {
            "pixels": normalized(self._data.images_bchw[chosen]),
            "true": true.long(),
            "false": tokens[:, SWAPPED].long(),
        }

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the symmetric cross-entropy; false captions only compete when an image looks for its caption."""
        network = self.network
        images = F.normalize(network.get_image_features(batch["pixels"]).pooler_output.float(), dim=-1)
        tokens = torch.cat([batch["true"], batch["false"]])
        texts = F.normalize(network.get_text_features(tokens).pooler_output.float(), dim=-1)
        logits = network.logit_scale.float().exp().clamp(max=100.0) * images @ texts.T
        labels = torch.arange(len(images), device=images.device)
        return 0.5 * (F.cross_entropy(logits, labels) + F.cross_entropy(logits[:, : len(images)].T, labels))
