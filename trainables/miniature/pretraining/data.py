"""The training images, rendered once and kept as bytes, with their captions."""

import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainables.data.randomness import derived_seed
from trainables.miniature.models import TEXT_LENGTH, make_tokenizer
from trainables.miniature.world.captions import caption, full_caption, swapped_caption
from trainables.miniature.world.nouns import NOUNS
from trainables.miniature.world.renderer import render, to_uint8
from trainables.miniature.world.scenes import Scene, make_scene
from trainables.miniature.world.toys import Toy, make_toy

WORDINGS, SWAPPED = slice(0, 4), 4  # an image's true captions, and its false caption
CHUNK = 256  # toys that a process draws at a time, and a batch renders
DATA_FILE = "data.safetensors"


@dataclass(frozen=True)
class Data:
    """Images of the training world with their captions.

    Attributes:
        images_bchw: sRGB bytes, shape (images, 3, 64, 64); the `views` images of a toy are consecutive.
        tokens_bkl: token ids of five captions per image, shape (images, 5, tokens): the complete caption, three
            partial captions and a false caption.
        views: images per toy.
    """

    images_bchw: Tensor
    tokens_bkl: Tensor
    views: int

    def __len__(self) -> int:
        return len(self.images_bchw)


def described(seed: int, start: int, stop: int, views: int) -> tuple[list[Toy], list[Scene], Tensor]:
    """Draw the toys `start`..`stop - 1` of a world, with scenes and captions.

    Args:
        seed: of the world.
        start, stop: range of toys.
        views: scenes per toy.

    Returns:
        Toy and scene of every image, and the token ids of its captions, int16 of shape (images, 5, tokens).
    """
    toys, scenes, texts = [], [], []
    for index in range(start, stop):
        toy = make_toy(derived_seed(seed, "toy", str(index)), NOUNS[index // CHUNK % len(NOUNS)])
        for view in range(views):
            scene_seed = derived_seed(seed, "scene", str(index), str(view))
            scene, rng = make_scene(scene_seed), random.Random(scene_seed)
            toys.append(toy)
            scenes.append(scene)
            texts += [
                full_caption(toy, scene),
                *(caption(toy, scene, rng) for _ in range(3)),
                swapped_caption(toy, scene),
            ]
    encoded = make_tokenizer()(texts, padding="max_length", truncation=True, max_length=TEXT_LENGTH)["input_ids"]
    return toys, scenes, torch.tensor(encoded, dtype=torch.int16).reshape(len(toys), 5, TEXT_LENGTH)


def make_data(seed: int, toys: int, views: int, device: torch.device, workers: int) -> Data:
    """Render a training world; the same seed gives the same toys, scenes and captions on every machine.

    Args:
        seed: of the whole world.
        toys: number of toys.
        views: images per toy, each in its own scene.
        device: where to render and keep the data.
        workers: processes that draw toys and captions; 0 draws them in this process.
    """
    images, tokens = [], []
    for drawn, scenes, ids in _chunks(seed, toys, views, workers):
        images.append(to_uint8(render(drawn, scenes, device=device)))
        tokens.append(ids)
    return Data(torch.cat(images), torch.cat(tokens).to(device), views)


def _chunks(seed: int, toys: int, views: int, workers: int) -> Iterator[tuple[list[Toy], list[Scene], Tensor]]:
    starts = range(0, toys, CHUNK)
    tasks = [(seed, start, min(start + CHUNK, toys), views) for start in starts]
    if workers == 0:
        yield from (described(*task) for task in tasks)
        return
    # Forked processes would inherit locks of torch's threads and wait for them forever.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(described, *zip(*tasks, strict=True))


def save(data: Data, folder: Path) -> None:
    """Write the data to a folder, from which `load` reads them."""
    tensors = {"images": data.images_bchw, "tokens": data.tokens_bkl, "views": torch.tensor(data.views)}
    save_file({name: tensor.cpu() for name, tensor in tensors.items()}, folder / DATA_FILE)


def load(folder: Path, device: torch.device) -> Data | None:
    """Return the data that `save` wrote to a folder, or None if there are none."""
    if not (folder / DATA_FILE).exists():
        return None
    tensors = load_file(folder / DATA_FILE, device=str(device))
    return Data(tensors["images"], tensors["tokens"], int(tensors["views"]))
