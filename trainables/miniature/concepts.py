"""The concepts of the miniature: toys that no training image shows and no words describe, rendered on demand.

Their colours lie between the named ones, and each of their proportions lies outside the training's range.
"""

import functools
from collections.abc import Sequence
from dataclasses import replace

import torch

from trainables.data.concept import Concept, concept_from_images
from trainables.data.randomness import derived_seed
from trainables.devices import threads
from trainables.miniature.entries import ENTRIES, entry
from trainables.miniature.world.captions import PLACE_WORDS, with_article
from trainables.miniature.world.colours import COLOURS
from trainables.miniature.world.renderer import render_images
from trainables.miniature.world.scenes import Scene, make_scenes
from trainables.miniature.world.toys import Toy, make_novel_toy

SEED = 0


def load(names: Sequence[str], size: int = 64) -> list[Concept]:
    """Render concepts.

    Args:
        names: keys of `ENTRIES`; repeated names count once.
        size: side of the square images in pixels.

    Returns:
        The concepts, sorted by name.

    Raises:
        InvalidInput: a name is unknown; the message suggests a similar one.
    """
    return [_concept(entry(name).name, size) for name in sorted(set(names))]


def toy(name: str) -> Toy:
    """Return the toy that a concept's images show; `name` is a key of `ENTRIES`."""
    # A toy that is learned from a few images of 64 pixels should fill a good part of them.
    seeds = (derived_seed(SEED, "concept", name, str(attempt)) for attempt in range(1000))
    toys = (make_novel_toy(seed, ENTRIES[name].noun) for seed in seeds)
    return next(toy for toy in toys if toy.size != "small")


def scenes(name: str) -> list[Scene]:
    """Return the scenes of a concept's four to six images; no two of them have the same floor."""
    seed = derived_seed(SEED, "views", name)
    return make_scenes(seed, 4 + seed % 3)


@functools.lru_cache(maxsize=128)
def _concept(name: str, size: int) -> Concept:
    views = scenes(name)
    with threads(1):
        images = render_images([toy(name)] * len(views), views, size)
    concept = concept_from_images(name, ENTRIES[name].noun, images)
    return replace(concept, validation_prompts=_validation_prompts(name, views))


def _validation_prompts(name: str, views: Sequence[Scene]) -> tuple[str, ...]:
    """Return four prompts with contexts that no image of the concept shows: two places and two floors."""
    generator = torch.Generator().manual_seed(derived_seed(SEED, "validation", name))
    places = [words for place, words in PLACE_WORDS.items() if all(view.place != place for view in views)]
    floors = [name for name in COLOURS if all(view.floor_name != name for view in views)]
    chosen = [choices[i] for choices in (places, floors) for i in torch.randperm(len(choices), generator=generator)[:2]]
    floor_prompts = [f"a {{}} on {with_article(colour)} floor" for colour in chosen[2:]]
    return (*(f"a {{}} {words}" for words in chosen[:2]), *floor_prompts)
