"""Metrics of the miniature's networks on toys, scenes and captions that no training used."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from trainables.data.framing import central_square
from trainables.data.randomness import derived_seed
from trainables.miniature import concepts
from trainables.miniature.entries import TUNING
from trainables.miniature.metrics import Metric
from trainables.miniature.world.captions import full_caption
from trainables.miniature.world.colours import COLOURS
from trainables.miniature.world.renderer import render_images
from trainables.miniature.world.scenes import make_scene
from trainables.miniature.world.toys import Toy, make_novel_toy, make_toy
from trainables.models.stable_diffusion import load
from trainables.quality.clip import ClipScorer, draw_samples
from trainables.settings import BaseModelSettings, QualitySettings

SEED = 1  # of held-out toys, scenes and captions; the training world's streams are separate


class WeightsEvaluator:
    """Measures the networks in a folder of weights.

    Args:
        folder: weights as the pretraining exports them.
        device: where to compute.
        count: number of held-out images, each with its caption.
        samples: how samples are drawn.
    """

    def __init__(self, folder: Path, device: torch.device, count: int, samples: QualitySettings) -> None:
        from transformers import ViTModel

        self._base = load(folder, BaseModelSettings(str(folder)), device)
        self._scorer = ClipScorer(str(folder / "clip"), device)
        self._dino = ViTModel.from_pretrained(
            folder / "dino", dtype=torch.float32, add_pooling_layer=False, use_safetensors=True, local_files_only=True
        ).to(device)
        self._device, self._samples = device, samples
        self._toys = [make_toy(derived_seed(SEED, "held-out toy", str(i))) for i in range(count)]
        self._scenes = [make_scene(derived_seed(SEED, "held-out scene", str(i))) for i in range(count)]
        self._images = render_images(self._toys, self._scenes, device=device)

    def vae(self) -> Iterator[Metric]:
        """Yield the mean peak signal-to-noise ratio of reconstructions, for known and for unseen colours."""
        yield Metric("VAE: PSNR of held-out images, dB", self._psnr(self._images), 32)
        novel = [make_novel_toy(derived_seed(SEED, "novel", str(i))) for i in range(len(self._toys) // 4)]
        images = render_images(novel, self._scenes[: len(novel)], device=self._device)
        yield Metric("VAE: PSNR of unseen colours, dB", self._psnr(images), 30)

    @torch.no_grad()
    def _psnr(self, images: Sequence[Image.Image]) -> float:
        ratios = []
        for image in images:
            pixels = central_square(image, self._base.resolution)[None].to(self._device)
            restored = self._base.vae.decode(self._base.vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
            ratios.append(-10 * math.log10(((restored - pixels) / 2).square().mean().item()))
        return sum(ratios) / len(ratios)

    def clip(self) -> Iterator[Metric]:
        """Yield the share of images that score highest with their own caption."""
        share, _ = self._retrieval(self._images)
        yield Metric(f"CLIP: right caption among {len(self._images)}", share, 0.98)

    def _retrieval(self, images: list[Image.Image]) -> tuple[float, float]:
        """Return the share of images that retrieve their own caption, and their mean score with it."""
        captions = [full_caption(toy, scene) for toy, scene in zip(self._toys, self._scenes, strict=True)]
        scores = self._scorer.embed_images(images) @ self._scorer.embed_texts(captions).T
        # Two scenes may share a caption by chance; either counts as right.
        retrieved = [captions[i] for i in scores.argmax(dim=1).tolist()]
        right = sum(best == caption for best, caption in zip(retrieved, captions, strict=True))
        return right / len(images), scores.diagonal().mean().item()

    @torch.no_grad()
    def identity(self) -> Iterator[Metric]:
        """Yield the share of concept images whose nearest other image, by the DINO, shows the same concept."""
        tuning = concepts.load(TUNING)
        images = [image for concept in tuning for image in concept.decode()]
        owners = torch.tensor([index for index, concept in enumerate(tuning) for _ in concept.images])
        pixels = torch.stack([central_square(image, self._base.resolution) for image in images]).to(self._device)
        vectors = F.normalize(self._dino(pixel_values=pixels).last_hidden_state[:, 0], dim=-1).cpu()
        scores = (vectors @ vectors.T).fill_diagonal_(-2)
        share = (owners[scores.argmax(dim=1)] == owners).float().mean().item()
        yield Metric("DINO: nearest image shows the same concept", share, 0.9)

    def text_to_image(self) -> Iterator[Metric]:
        """Yield how well samples show what their held-out captions say."""
        captions = [full_caption(toy, scene) for toy, scene in zip(self._toys, self._scenes, strict=True)]
        samples = self.sample(captions)
        share, score = self._retrieval(samples)
        _, real = self._retrieval(self._images)
        yield Metric("samples: CLIP text score, share of the real renders'", score / real, 0.98)
        yield Metric(f"samples: right caption among {len(samples)}", share, 0.97)
        yield Metric("samples: floor colour right", self._floors(samples), 0.95)

    def sample(self, prompts: Sequence[str]) -> list[Image.Image]:
        """Draw a sample per prompt, each from its own noise.

        Args:
            prompts: what to draw; drawn in batches of 32.

        Returns:
            The samples, in the order of the prompts.
        """
        images: list[Image.Image] = []
        pipeline = self._base.pipeline()
        for start in range(0, len(prompts), 32):
            batch = prompts[start : start + 32]
            seeds = [derived_seed(SEED, "sample", str(start + i)) for i in range(len(batch))]
            images += draw_samples(pipeline, batch, seeds, self._base.resolution, self._samples)
        return images

    def _floors(self, images: Sequence[Image.Image]) -> float:
        """Return the share of rooms whose floor, read from pixels, is nearest to the colour in its caption."""
        names = list(COLOURS)
        bare = Toy("robot", (), ((0, 0, 0), (0, 0, 0)))
        rooms = [
            make_scene(derived_seed(SEED, "floor", str(i)), floor=names[i % len(names)]) for i in range(8 * len(names))
        ]
        seen = torch.stack([_floor(image) for image in render_images([bare] * len(rooms), rooms, device=self._device)])
        references = seen.view(8, len(names), 3).mean(dim=0)
        right = [
            names[int((references - _floor(image)).square().sum(dim=1).argmin())] == scene.floor_name
            for image, scene in zip(images, self._scenes, strict=True)
            if scene.floor_name
        ]
        return sum(right) / len(right)


def _floor(image: Image.Image) -> Tensor:
    """Return the mean colour of the two lower corners, 0..1."""
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3) / 255
    lower, side = image.height - image.height // 12, image.width // 8
    return torch.cat([pixels[lower:, :side].reshape(-1, 3), pixels[lower:, -side:].reshape(-1, 3)]).mean(dim=0)
