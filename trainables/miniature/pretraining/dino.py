"""The identity network: a vision transformer that learns, without labels, which two images show the same toy.

It has the class in which DINO is published and the same use. Its objective is contrastive (Chen et al., 2020), because
DINO's self-distillation is still at chance when this training ends.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.miniature.models import Sizes, make_dino
from trainables.miniature.pretraining.data import Data
from trainables.miniature.pretraining.loop import Task

TEMPERATURE, DIMENSIONS = 0.1, 64


class _Network(nn.Module):
    """The transformer and a projection head, which is discarded after training.

    The head normalizes over the batch, because the untrained transformer maps all images to nearly the same vector.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.dino_width
        self.vit = make_dino(sizes)
        self.head = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.BatchNorm1d(4 * width),
            nn.GELU(),
            nn.Linear(4 * width, DIMENSIONS),
            nn.BatchNorm1d(DIMENSIONS),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        vectors: Tensor = self.head(self.vit(pixels).last_hidden_state[:, 0])
        return F.normalize(vectors.float(), dim=-1)


class DinoTask(Task):
    """Trains transformers' `ViTModel` to match crops of two renders of the same toy."""

    network: _Network

    def __init__(self, sizes: Sizes, data: Data, device: torch.device) -> None:
        self.network = _Network(sizes).to(device).train()
        self._data, self._device = data, device

    def draw(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw `size` toys, and a crop of two views of each: shape (2 * size, 3, 64, 64)."""
        toys = torch.randint(len(self._data) // self._data.views, (size,), generator=generator, device=self._device)
        order = torch.rand(size, self._data.views, generator=generator, device=self._device).argsort(dim=1)
        first, second = (toys * self._data.views + order[:, i % order.shape[1]] for i in range(2))
        return {"crops": self._crop(torch.cat([first, second]), generator)}

    def _crop(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Crop each image to 70-100 % of its side, mirror half of the crops, and resize them to the image's size."""
        images = self._data.images_bchw[chosen].float() / 127.5 - 1
        scale, dx, dy, mirrored = torch.rand(4, len(images), generator=generator, device=self._device)
        scale = 0.7 + 0.3 * scale
        theta = torch.zeros(len(images), 2, 3, device=self._device)
        theta[:, 0, 0] = scale * torch.where(mirrored < 0.5, -1.0, 1.0)
        theta[:, 1, 1] = scale
        theta[:, 0, 2], theta[:, 1, 2] = (1 - scale) * (2 * dx - 1), (1 - scale) * (2 * dy - 1)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the cross-entropy of picking each crop's partner among all other crops of the batch."""
        vectors = self.network(batch["crops"])
        count = len(vectors)
        scores = vectors @ vectors.T / TEMPERATURE
        itself = torch.eye(count, dtype=torch.bool, device=scores.device)
        partners = torch.arange(count, device=scores.device).roll(count // 2)
        return F.cross_entropy(scores.masked_fill(itself, -1e4), partners)
