"""The concepts of the miniature: toys that no training image shows and no words describe, rendered on demand.

Colours lie in the gaps between the named ones, every proportion lies beyond the training's range.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

import torch

from trainables.data.concept import Concept, concept_from_images
from trainables.data.randomness import derived_seed
from trainables.errors import InvalidInput
from trainables.miniature.world.captions import PLACE_WORDS, with_article
from trainables.miniature.world.colours import COLOURS
from trainables.miniature.world.renderer import render_images
from trainables.miniature.world.scenes import Scene, make_scenes
from trainables.miniature.world.toys import NOUNS, Toy, make_novel_toy

SEED = 0
Role = Literal["tuning", "test"]


@dataclass(frozen=True)
class Entry:
    """One concept, not rendered yet: its name, its class noun, and what it is meant for."""

    name: str
    noun: str
    role: Role


def _entries() -> dict[str, Entry]:
    # The classes take turns, so that every class has at least two concepts, and the tuning ones are of eight classes.
    nouns = [NOUNS[index % len(NOUNS)] for index in range(56)]
    rows = [(f"{noun}_{index // len(NOUNS) + 1}", noun, index) for index, noun in enumerate(nouns)]
    tuning = {name for name, _, index in rows if index >= 48}
    return {name: Entry(name, noun, "tuning" if name in tuning else "test") for name, noun, _ in rows}


#: All 56 concepts by name: 48 to test on, 8 to tune on.
ENTRIES = _entries()
TUNING = tuple(entry.name for entry in ENTRIES.values() if entry.role == "tuning")
TEST = tuple(entry.name for entry in ENTRIES.values() if entry.role == "test")

#: A few for a demonstration: three of each role.
FEW = ("car_1", "cat_3", "mug_1", "rabbit_3", "robot_1", "teapot_3")


def load(names: Sequence[str], size: int = 64) -> list[Concept]:
    """Render concepts.

    Args:
        names: which, of `ENTRIES`.
        size: of the square images in pixels.

    Raises:
        InvalidInput: a name is unknown.
    """
    return [_concept(entry(name).name, size) for name in sorted(set(names))]


def entry(name: str) -> Entry:
    """Return the entry of a name.

    Raises:
        InvalidInput: there is none.
    """
    if name not in ENTRIES:
        near = get_close_matches(name, ENTRIES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`dvar concepts` lists them"
        raise InvalidInput(f"the miniature has no concept {name!r}; {hint}")
    return ENTRIES[name]


def toy(name: str) -> Toy:
    """Return the toy of a concept."""
    # Whoever is learned from a few images of 64 pixels should fill a good part of them.
    seeds = (derived_seed(SEED, "concept", name, str(attempt)) for attempt in range(1000))
    toys = (make_novel_toy(seed, ENTRIES[name].noun) for seed in seeds)
    return next(toy for toy in toys if toy.size != "small")


def scenes(name: str) -> list[Scene]:
    """Return the four to six scenes of a concept's images; no two have the same floor."""
    seed = derived_seed(SEED, "views", name)
    return make_scenes(seed, 4 + seed % 3)


@functools.lru_cache(maxsize=128)
def _concept(name: str, size: int) -> Concept:
    views = scenes(name)
    concept = concept_from_images(name, ENTRIES[name].noun, render_images([toy(name)] * len(views), views, size))
    return replace(concept, validation_prompts=_validation_prompts(name, views))


def _validation_prompts(name: str, views: Sequence[Scene]) -> tuple[str, ...]:
    """Return four prompts of contexts that no image of the concept shows: two places, two floors."""
    generator = torch.Generator().manual_seed(derived_seed(SEED, "validation", name))
    places = [words for place, words in PLACE_WORDS.items() if all(view.place != place for view in views)]
    floors = [name for name in COLOURS if all(view.floor_name != name for view in views)]
    chosen = [choices[i] for choices in (places, floors) for i in torch.randperm(len(choices), generator=generator)[:2]]
    floor_prompts = [f"a {{}} on {with_article(colour)} floor" for colour in chosen[2:]]
    return (*(f"a {{}} {words}" for words in chosen[:2]), *floor_prompts)
