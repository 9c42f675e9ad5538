"""Images of the class, drawn once by the base model itself and kept: prior preservation (Ruiz et al., 2023)."""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from filelock import FileLock
from PIL import Image

from trainables.checks import check_types
from trainables.data.randomness import derived_seed
from trainables.errors import InvalidInput
from trainables.models.base import BaseModel
from trainables.types import JsonDict, JsonObject

CACHE_VARIABLE = "DVAR_CACHE"
TEMPLATE = "a photo of a {}"


@dataclass(frozen=True)
class PriorSettings:
    """How images of the class are drawn, and how much they count.

    Attributes:
        weight: of their loss beside the concept's.
        images: how many are drawn.
        inference_steps: DDIM steps of an image.
        guidance_scale: of classifier-free guidance.
        seed: of their starting noise.
    """

    weight: float = 1.0
    images: int = 200
    inference_steps: int = 50
    guidance_scale: float = 7.5
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self, "prior.")
        if not self.weight > 0:
            raise InvalidInput(f"prior.weight must be positive, got {self.weight}; without prior: null")
        for name in ("images", "inference_steps"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"prior.{name} must be at least 1, got {getattr(self, name)}")

    @classmethod
    def from_mapping(cls, values: JsonObject) -> "PriorSettings":
        """Make the settings from plain JSON.

        Raises:
            InvalidInput: a key is unknown, or a value out of its range.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise InvalidInput(f"prior has no setting {name!r}; available: {', '.join(known)}")
        return cls(**values)

    def as_mapping(self) -> JsonDict:
        """Return the settings as plain JSON."""
        return asdict(self)


def caption(class_noun: str) -> str:
    """Return the caption by which the class is drawn and trained."""
    return TEMPLATE.format(class_noun)


def class_images(base: BaseModel, class_noun: str, settings: PriorSettings) -> list[Image.Image]:
    """Return images of the class, drawn by the base model as it is; drawn once, then read from the cache.

    The cache is the folder `DVAR_CACHE`, or `~/.cache/dvar-tune`. What it holds is found by everything that
    determines it, and several processes may ask at once: one draws, the others wait.

    Args:
        base: model to which no method is attached.
        class_noun: what to draw.
        settings: how many, and how.
    """
    key = _key(base, class_noun, settings)
    root = Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/dvar-tune").expanduser() / "class-images"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / key
    with FileLock(root / f"{key}.lock"):
        images = _read(folder, settings.images)
        if images is None:
            shutil.rmtree(folder, ignore_errors=True)
            _fill(folder, base, class_noun, settings)
            images = _read(folder, settings.images)
    assert images is not None
    return images


def _read(folder: Path, count: int) -> list[Image.Image] | None:
    """Return the images, or None where some are missing or damaged: whoever tidies a cache knows no folders."""
    try:
        return [Image.open(folder / _file(number)).convert("RGB") for number in range(count)]
    except (OSError, SyntaxError, ValueError):  # what Pillow raises of a file that is missing or damaged
        return None


def _file(number: int) -> str:
    return f"{number:05d}.png"


def _key(base: BaseModel, class_noun: str, settings: PriorSettings) -> str:
    what = {
        "base_model": base.fingerprint,
        "dtype": str(base.dtype),
        "resolution": base.resolution,
        "caption": caption(class_noun),
        **settings.as_mapping(),
    }
    del what["weight"]  # it changes no image
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:20]


def _fill(folder: Path, base: BaseModel, class_noun: str, settings: PriorSettings) -> None:
    """Draw the images into a folder beside, and give it its name once it is whole."""
    from trainables.quality.clip import draw_samples
    from trainables.settings import QualitySettings

    how = QualitySettings(inference_steps=settings.inference_steps, guidance_scale=settings.guidance_scale)
    pipeline = base.pipeline()
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        whole = Path(name) / "images"
        whole.mkdir()
        for start in range(0, settings.images, 8):
            numbers = range(start, min(start + 8, settings.images))
            seeds = [derived_seed(settings.seed, "class image", str(number)) for number in numbers]
            drawn = draw_samples(pipeline, [caption(class_noun)] * len(seeds), seeds, base.resolution, how)
            for number, image in zip(numbers, drawn, strict=True):
                image.save(whole / _file(number))
        whole.rename(folder)
