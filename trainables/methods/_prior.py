"""Images of the class, drawn by the base model itself and cached: prior preservation (Ruiz et al., 2023)."""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from filelock import FileLock
from PIL import Image

from trainables.checks import check_at_most, check_types
from trainables.data.randomness import derived_seed
from trainables.errors import InvalidInput
from trainables.models.base import BaseModel
from trainables.settings import MAX_COUNT, MAX_INFERENCE_STEPS
from trainables.sums import SUMS_FILE, check_sums, sums_text
from trainables.text import did_you_mean
from trainables.types import JsonDict, JsonObject

CACHE_VARIABLE = "DVAR_CACHE"
TEMPLATE = "a photo of a {}"


@dataclass(frozen=True)
class PriorSettings:
    """How images of the class are drawn, and how much they count.

    Attributes:
        weight: of their loss, relative to the concept's.
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
        """Check the settings.

        Raises:
            InvalidInput: a value has the wrong type, or is out of its range.
        """
        check_types(self, "prior.")
        if not self.weight > 0:
            raise InvalidInput(f"prior.weight must be positive, got {self.weight}; without prior: null")
        for name in ("images", "inference_steps"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"prior.{name} must be at least 1, got {getattr(self, name)}")
        check_at_most(self, "prior.", images=MAX_COUNT, inference_steps=MAX_INFERENCE_STEPS)
        if self.guidance_scale < 0:
            raise InvalidInput(f"prior.guidance_scale must not be negative, got {self.guidance_scale}")

    @classmethod
    def from_mapping(cls, values: JsonObject) -> "PriorSettings":
        """Make the settings from plain JSON.

        Raises:
            InvalidInput: a key is unknown, or a value out of its range.
        """
        available = [field.name for field in fields(cls)]
        for name in values:
            if name not in available:
                raise InvalidInput(f"prior has no setting {name!r}; {did_you_mean(name, available)}")
        return cls(**values)

    def as_mapping(self) -> JsonDict:
        """Return the settings as plain JSON."""
        return asdict(self)


def caption(class_noun: str) -> str:
    """Return the caption with which the class is drawn and trained."""
    return TEMPLATE.format(class_noun)


def class_images(base: BaseModel, class_noun: str, settings: PriorSettings) -> list[Image.Image]:
    """Return images of the class, drawn by the base model the first time, then read from the cache.

    The cache is the folder `DVAR_CACHE`, or `~/.cache/dvar-tune`. Its key is a hash of everything that determines the
    images. Several processes may ask at the same time: the first draws, and the others wait.

    Args:
        base: model to which no method is attached.
        class_noun: what to draw.
        settings: how many images, and how they are drawn.
    """
    key = _key(base, class_noun, settings)
    root = Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/dvar-tune").expanduser() / "class-images"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / key
    with FileLock(root / f"{key}.lock"):
        images = _read(folder, settings.images)
        if images is None:
            if folder.is_symlink():
                folder.unlink()
            shutil.rmtree(folder, ignore_errors=True)
            _fill(folder, base, class_noun, settings)
            images = _read(folder, settings.images)
    assert images is not None
    return images


def _read(folder: Path, count: int) -> list[Image.Image] | None:
    """Return the images, or None if any is missing or damaged: what tidies a cache deletes single files."""
    if folder.is_symlink():  # in a cache that others can write, it leads wherever they like
        return None
    try:
        check_sums(folder)
        return [Image.open(folder / _file(number)).convert("RGB") for number in range(count)]
    except (OSError, SyntaxError, ValueError, InvalidInput):  # a file is missing, damaged or another
        return None


def _file(number: int) -> str:
    return f"{number:05d}.png"


def _key(base: BaseModel, class_noun: str, settings: PriorSettings) -> str:
    determinants = {
        "base_model": base.fingerprint,
        "dtype": str(base.dtype),
        "resolution": base.resolution,
        "caption": caption(class_noun),
        **settings.as_mapping(),
    }
    del determinants["weight"]  # it changes no image
    return hashlib.sha256(json.dumps(determinants, sort_keys=True).encode()).hexdigest()[:20]


def _fill(folder: Path, base: BaseModel, class_noun: str, settings: PriorSettings) -> None:
    """Draw the images into a temporary folder beside `folder`, and rename it once it is complete."""
    from trainables.quality.clip import draw_samples
    from trainables.settings import QualitySettings

    sampling = QualitySettings(inference_steps=settings.inference_steps, guidance_scale=settings.guidance_scale)
    pipeline = base.pipeline()
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        whole = Path(name) / "images"
        whole.mkdir()
        for start in range(0, settings.images, 8):
            numbers = range(start, min(start + 8, settings.images))
            seeds = [derived_seed(settings.seed, "class image", str(number)) for number in numbers]
            drawn = draw_samples(pipeline, [caption(class_noun)] * len(seeds), seeds, base.resolution, sampling)
            for number, image in zip(numbers, drawn, strict=True):
                image.save(whole / _file(number))
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in whole.iterdir()}
        (whole / SUMS_FILE).write_text(sums_text(hashes), encoding="utf-8")
        whole.rename(folder)
