"""A perceptual distance between images, and the diversity of samples: the miniature's substitute for LPIPS."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F


class PerceptualDistance:
    """Compares images by the features of every layer of CLIP's vision transformer (after Zhang et al., 2018).

    Args:
        clip: folder with a CLIP in transformers' format.
        device: where to compute, always in float32.
    """

    def __init__(self, clip: Path, device: torch.device) -> None:
        from transformers import CLIPImageProcessor, CLIPModel

        model = CLIPModel.from_pretrained(clip, dtype=torch.float32, use_safetensors=True, local_files_only=True)
        self._vision = model.vision_model.to(device).eval()
        self._processor = CLIPImageProcessor.from_pretrained(clip)
        self._device = device

    @torch.no_grad()
    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return every layer's patch features as unit vectors: shape (images, layers, patches, width)."""
        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"].to(self._device)
        states = self._vision(pixel_values=pixels, output_hidden_states=True).hidden_states
        return F.normalize(torch.stack([state[:, 1:] for state in states[1:]], dim=1).float(), dim=-1)

    def between(self, first: Sequence[Image.Image], second: Sequence[Image.Image]) -> Tensor:
        """Return the distance of each pair, from 0 (the same) to 4, shape (pairs,)."""
        difference = self.features(first) - self.features(second)
        return difference.square().sum(dim=-1).mean(dim=(1, 2)).cpu()

    def diversity(self, images: Sequence[Image.Image]) -> float:
        """Return the mean distance over all pairs of the images, of which there must be at least two."""
        features = self.features(images).flatten(1, 2)
        alike = torch.einsum("apw,bpw->ab", features, features) / features.shape[1]  # mean cosine similarity
        count = len(images)
        return (2 - 2 * (alike.sum() - alike.trace()) / (count * (count - 1))).item()
