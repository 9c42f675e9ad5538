"""Quality of a personalization: CLIP scores of samples, as in the paper's Table 1."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from trainables.data.concept import Concept
from trainables.data.prompts import SAMPLE_TEMPLATE
from trainables.data.randomness import derived_seed
from trainables.errors import InvalidInput
from trainables.models.base import BaseModel
from trainables.models.quiet import quiet_libraries
from trainables.settings import (
    MINIATURE,
    SAMPLES_OF,
    TRAIN_IMAGE,
    VALIDATION_IMAGE,
    VALIDATION_TEXT,
    QualitySettings,
)

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


class ClipScorer:
    """Cosine similarities in CLIP's common space, each in -1..1.

    Args:
        model: "miniature", a folder, or a hub id such as "openai/clip-vit-base-patch32".
        device: where it runs, in the precision of its files.

    Raises:
        InvalidInput: the model cannot be found, downloaded or read.
    """

    def __init__(self, model: str, device: torch.device) -> None:
        """Load the model; a hub id is looked up in the hub's cache, or downloaded."""
        quiet_libraries()
        from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

        place: str | Path = model
        if model == MINIATURE:
            from trainables.models.embedded import miniature_folder

            place = miniature_folder() / "clip"
        try:
            self._model = CLIPModel.from_pretrained(place, use_safetensors=True).to(device).eval()
            self._processor = CLIPImageProcessor.from_pretrained(place)
            self._tokenizer = CLIPTokenizer.from_pretrained(place)
        except (OSError, ValueError) as error:
            raise InvalidInput(f"CLIP model {model!r} cannot be loaded ({error}); give a folder or a hub id") from error

    @torch.no_grad()
    def embed_images(self, images: list[Image.Image]) -> Tensor:
        """Return the images' embeddings as unit vectors, shape (images, dimensions), float32, on the device."""
        pixels = self._processor(images=images, return_tensors="pt")["pixel_values"].to(self._model.device)
        return F.normalize(self._model.get_image_features(pixel_values=pixels).pooler_output.float(), dim=-1)

    @torch.no_grad()
    def embed_texts(self, texts: list[str]) -> Tensor:
        """Return the texts' embeddings as unit vectors, shape (texts, dimensions), float32; long texts are cut off."""
        tokens = self._tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self._model.device)
        return F.normalize(self._model.get_text_features(**tokens).pooler_output.float(), dim=-1)


@dataclass(frozen=True)
class Measured:
    """Quality at a step of training.

    Attributes:
        scores: mean cosines, higher is better: `train_clip_image` (samples of the training prompt against the concept's
            images), `val_clip_image` and `val_clip_text` (samples of validation prompts against the images, and each
            against its own prompt with the class noun).
        seconds: that drawing and scoring took, by kind of samples, "train" and "val" (see `settings.SAMPLES_OF`).
        images: the samples, those of the training prompt first.
    """

    scores: dict[str, float]
    seconds: dict[str, float]
    images: list[Image.Image]


class QualityProbe:
    """Draws and scores samples of a concept, with the same prompts and starting noise at every snapshot.

    Args:
        base: the model that is personalized.
        concept: whose images are the reference.
        settings: how many samples, and how they are drawn.
        scorer: the CLIP that scores.
        phrase: what stands for the concept in prompts; None takes its placeholder.

    Raises:
        InvalidInput: a prompt has more tokens than the text encoder reads.
    """

    def __init__(
        self,
        base: BaseModel,
        concept: Concept,
        settings: QualitySettings,
        scorer: ClipScorer,
        phrase: str | None = None,
    ) -> None:
        """Embed the concept's images and the texts of its validation prompts; nothing is drawn yet."""
        phrase = phrase or concept.placeholder
        self._base, self._settings, self._scorer = base, settings, scorer
        self._references = scorer.embed_images(concept.decode())
        self._train_prompt = SAMPLE_TEMPLATE.format(phrase)
        templates = concept.validation_prompts
        chosen = [templates[i % len(templates)] for i in range(settings.samples)] if templates else []
        self._validation_prompts = [template.format(phrase) for template in chosen]
        base.tokenize([self._train_prompt, *self._validation_prompts])  # a pipeline would cut off what is too long
        # CLIP does not know the placeholder: its text is scored with the class noun in its place.
        self._validation_texts = scorer.embed_texts([t.format(concept.class_noun) for t in chosen]) if chosen else None

    def measure(self, repeat: int = 0) -> Measured:
        """Draw and score samples of what is trained so far; no random stream of the training is touched.

        Args:
            repeat: which of the independent sets of starting noise is taken; all snapshots take the first, 0.
        """
        start = time.perf_counter()
        pipeline = self._base.pipeline()
        train = self._sample(pipeline, [self._train_prompt] * self._settings.samples, "train", repeat)
        scores = {TRAIN_IMAGE: self._image_score(self._scorer.embed_images(train))}
        trained = time.perf_counter()
        seconds = {SAMPLES_OF[TRAIN_IMAGE]: trained - start}
        if self._validation_texts is None:
            return Measured(scores, seconds, train)
        validation = self._sample(pipeline, self._validation_prompts, "validation", repeat)
        embedded = self._scorer.embed_images(validation)
        scores[VALIDATION_IMAGE] = self._image_score(embedded)
        scores[VALIDATION_TEXT] = (embedded * self._validation_texts).sum(dim=-1).mean().item()
        seconds[SAMPLES_OF[VALIDATION_IMAGE]] = time.perf_counter() - trained
        return Measured(scores, seconds, train + validation)

    def _image_score(self, samples: Tensor) -> float:
        return (samples @ self._references.T).mean().item()

    def _sample(
        self, pipeline: "DiffusionPipeline", prompts: list[str], purpose: str, repeat: int
    ) -> list[Image.Image]:
        names = ["samples", purpose, *(["repeat", str(repeat)] if repeat else [])]
        seeds = [derived_seed(self._settings.seed, *names, str(i)) for i in range(len(prompts))]
        return draw_samples(pipeline, prompts, seeds, self._base.resolution, self._settings)


def draw_samples(
    pipeline: "DiffusionPipeline",
    prompts: Sequence[str],
    seeds: Sequence[int],
    resolution: int,
    settings: QualitySettings,
) -> list[Image.Image]:
    """Draw one sample per prompt, all in a single batch.

    Args:
        pipeline: of a base model.
        prompts: what to draw.
        seeds: of the samples' starting noise, as many as prompts.
        resolution: side of the samples in pixels.
        settings: inference steps and guidance.
    """
    images = pipeline(
        list(prompts),
        height=resolution,
        width=resolution,
        num_inference_steps=settings.inference_steps,
        guidance_scale=settings.guidance_scale,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).images
    assert isinstance(images, list)
    return images
