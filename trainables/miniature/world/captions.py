"""Captions: the grammar that describes an image of the training world in words."""

import random
import re
from collections.abc import Iterator
from dataclasses import replace

from trainables.data.prompts import OBJECT_TEMPLATES
from trainables.miniature.world.colours import COLOURS
from trainables.miniature.world.nouns import NOUNS
from trainables.miniature.world.scenes import Place, Position, Scene
from trainables.miniature.world.toys import MATERIALS, PATTERNS, SIZES, Toy

PLACE_WORDS: dict[Place, str] = {
    "beach": "on the beach",
    "snow": "in the snow",
    "grass": "on the grass",
    "table": "on a wooden table",
    "checkerboard": "on a checkered floor",
    "night": "at night",
}
POSITION_WORDS: dict[Position, str] = {"left": "on the left", "middle": "in the middle", "right": "on the right"}
FRAMES = ("a {}", "the {}", "{}", "an image of a {}", "a toy {}", *OBJECT_TEMPLATES)
UNSPOKEN = ("plain", "plastic", "medium")  # attributes that captions leave out


def full_caption(toy: Toy, scene: Scene) -> str:
    """Return a caption with every attribute of the toy and the scene that has a word."""
    return _article("a " + _phrase(_toy_words(toy), _scene_words(scene)))


def swapped_caption(toy: Toy, scene: Scene) -> str:
    """Return the full caption with the toy's colours swapped, and those of floor and wall: same words, but false."""
    names = toy.colour_names and (toy.colour_names[1], toy.colour_names[0])
    other = replace(scene, floor_name=scene.wall_name, wall_name=scene.floor_name)
    return full_caption(replace(toy, colour_names=names), other)


def caption(toy: Toy, scene: Scene, rng: random.Random) -> str:
    """Return a caption with some of the attributes, in a random wording; a tenth of them only name the class.

    Args:
        toy: what the image shows.
        scene: where it shows it.
        rng: source of all choices.
    """
    frame = rng.choice(FRAMES[:5]) if rng.random() < 0.5 else rng.choice(OBJECT_TEMPLATES)
    if rng.random() < 0.1:
        return _article(frame.format(toy.noun))
    keep = rng.choice((1.0, 0.8, 0.6))
    toy_words = {name: words for name, words in _toy_words(toy).items() if name == "noun" or rng.random() < keep}
    scene_words = {name: words for name, words in _scene_words(scene).items() if rng.random() < keep}
    return _article(frame.format(_phrase(toy_words, scene_words)))


def _toy_words(toy: Toy) -> dict[str, str]:
    words: dict[str, str] = {"size": toy.size, "material": toy.material}
    if toy.colour_names:
        words["colours"] = " and ".join(toy.colour_names)
    words |= {"pattern": toy.pattern, "noun": toy.noun}
    return {name: word for name, word in words.items() if word not in UNSPOKEN}


def _scene_words(scene: Scene) -> dict[str, str]:
    words = {"position": POSITION_WORDS[scene.position]}
    if scene.place in PLACE_WORDS:
        words["place"] = PLACE_WORDS[scene.place]
    if scene.floor_name and scene.wall_name:
        words["floor"] = f"on {with_article(scene.floor_name)} floor"
        words["wall"] = f"in front of {with_article(scene.wall_name)} wall"
    return words


def _phrase(toy_words: dict[str, str], scene_words: dict[str, str]) -> str:
    return " ".join([*toy_words.values(), *scene_words.values()])


def with_article(word: str) -> str:
    """Return a word with "a" or "an" before it."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _article(text: str) -> str:
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def vocabulary() -> list[str]:
    """Return every word that a caption or a prompt of the miniature can hold, sorted and without duplicates."""
    return sorted({word for phrase in _phrases() for word in phrase.replace("{}", " ").split()})


def _phrases() -> Iterator[str]:
    yield from FRAMES
    yield from (*NOUNS, *COLOURS, *PATTERNS, *MATERIALS, *SIZES)
    yield from (*PLACE_WORDS.values(), *POSITION_WORDS.values())
    yield "and on in front of a an floor wall with behind it next to"
