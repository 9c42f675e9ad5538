"""DINO: a student that sees crops of one view of a toy matches a slowly moving teacher that sees another view."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.miniature.models import Sizes, make_dino
from trainables.miniature.pretraining.data import Data
from trainables.miniature.pretraining.loop import Task

PROTOTYPES, STUDENT_HEAT, TEACHER_HEAT = 512, 0.1, 0.05
TEACHER_PACE, BALANCING = 0.004, 3


class _Head(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        # Normalized over the batch: at the start all images have nearly the same features, and would stay there.
        self.layers = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.BatchNorm1d(4 * width),
            nn.GELU(),
            nn.Linear(4 * width, 64),
            nn.BatchNorm1d(64),
        )
        self.prototypes = nn.Linear(64, PROTOTYPES, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(F.normalize(self.layers(features).float(), dim=-1), F.normalize(self.prototypes.weight, dim=-1))


class _Network(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.vit, self.head = make_dino(sizes), _Head(sizes.dino_width)

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.head(self.vit(pixels).last_hidden_state[:, 0])
        return scores


class DinoTask(Task):
    """Trains transformers' `ViTModel` without labels (Caron et al., 2021); two views are two renders of one toy."""

    def __init__(self, sizes: Sizes, data: Data, device: torch.device) -> None:
        self.network = _Network(sizes).to(device).train()
        self._teacher = copy.deepcopy(self.network).requires_grad_(False)
        # Buffers of the network, so that they are saved with it.
        for name, value in self._teacher.named_parameters():
            self.network.register_buffer("teacher_" + name.replace(".", "_"), value.data)
        self._data, self._device = data, device

    def draw(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw two cropped views of each of `size` toys."""
        toys = torch.randint(len(self._data) // self._data.views, (size,), generator=generator, device=self._device)
        order = torch.rand(size, self._data.views, generator=generator, device=self._device).argsort(dim=1)
        first, second = (toys * self._data.views + order[:, i % order.shape[1]] for i in range(2))
        return {"first": self._crop(first, generator), "second": self._crop(second, generator)}

    def _crop(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Cut 70-100 % of the side out of each image, mirror half, and scale the result back."""
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
        """Return the cross-entropy between the teacher's view of one crop and the student's of the other, both ways."""
        both = torch.cat([batch["first"], batch["second"]])
        student = self.network(both).float() / STUDENT_HEAT
        with torch.no_grad():
            teacher = _balanced(self._teacher(both).float() / TEACHER_HEAT).roll(len(batch["first"]), 0)
        loss: Tensor = -(teacher * student.log_softmax(dim=-1)).sum(dim=-1).mean()
        return loss

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the teacher towards the student."""
        torch._foreach_lerp_(list(self._teacher.parameters()), list(self.network.parameters()), TEACHER_PACE)


def _balanced(logits: Tensor) -> Tensor:
    """Turn scores (images, prototypes) into probabilities that use all prototypes alike (Caron et al., 2020).

    It keeps all images from falling to one prototype, and from spreading over all of them evenly.
    """
    shares = (logits - logits.amax()).exp()
    for _ in range(BALANCING):
        shares = shares / shares.sum(dim=0, keepdim=True).clamp(min=1e-30)
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-30)
    return shares
