"""The world: seeds determine every attribute, images show what captions say, and batching changes nothing."""

import random

import pytest
import torch

from trainables.data.prompts import OBJECT_TEMPLATES
from trainables.errors import InvalidInput
from trainables.miniature.models import TEXT_LENGTH, make_tokenizer
from trainables.miniature.world import shapes, solids
from trainables.miniature.world.captions import caption, full_caption, swapped_caption, vocabulary
from trainables.miniature.world.colours import COLOURS, GAP, JITTER, distance_to_names
from trainables.miniature.world.nouns import NOUNS
from trainables.miniature.world.renderer import render, to_uint8
from trainables.miniature.world.scenes import PLACES, make_scene, make_scenes
from trainables.miniature.world.shapes import BUILDERS
from trainables.miniature.world.toys import MATERIALS, PATTERNS, SIZES, Toy, make_novel_toy, make_toy

pytestmark = pytest.mark.model


def test_there_are_at_least_sixteen_classes():
    assert len(NOUNS) >= 16


@pytest.mark.parametrize("make", [make_toy, make_novel_toy, make_scene])
def test_a_seed_determines_everything(make):
    assert make(5) == make(5)
    assert make(5) != make(6)


@pytest.mark.parametrize("noun", NOUNS)
def test_every_class_is_visible_and_stays_within_the_image(noun):
    toy, scene = make_toy(3, noun), make_scene(4, floor="white")
    bare = Toy(noun, (), toy.colours)
    with_toy, without = render([toy], [scene], 48)[0], render([bare], [scene], 48)[0]
    changed = ((with_toy - without).abs().amax(dim=0) > 0.1).float()
    assert 0.03 < changed.mean() < 0.75
    rows, columns = changed.nonzero(as_tuple=True)
    assert 5 < rows.float().mean() < 43
    assert 5 < columns.float().mean() < 43


def test_attributes_of_a_toy_vary_with_the_seed():
    toys = [make_toy(seed) for seed in range(300)]
    assert {toy.noun for toy in toys} == set(NOUNS)
    assert {toy.pattern for toy in toys} == set(PATTERNS)
    assert {toy.material for toy in toys} == set(MATERIALS)
    assert {toy.size for toy in toys} == set(SIZES)
    assert {name for toy in toys for name in toy.colour_names} == set(COLOURS)
    assert len({toy.parts for toy in toys}) == len(toys)


def test_an_unknown_class_is_named():
    with pytest.raises(InvalidInput, match="unknown toy 'dragon'; available: robot, duck"):
        make_toy(0, "dragon")


@pytest.mark.parametrize(("toys", "scenes", "size"), [(0, 0, 64), (2, 1, 64), (1, 1, 0)])
def test_impossible_renders(toys, scenes, size):
    with pytest.raises(InvalidInput, match=f"got {toys} toys, {scenes} scenes, size {size}"):
        render([make_toy(0)] * toys, [make_scene(0)] * scenes, size)


def test_an_image_does_not_depend_on_its_batch():
    toys, scenes = [make_toy(i) for i in range(6)], [make_scene(i) for i in range(6)]
    together = render(toys, scenes, 32)
    for index in range(6):
        assert torch.equal(together[index], render(toys[index : index + 1], scenes[index : index + 1], 32)[0])


def test_edges_are_smooth():
    image = render([make_toy(1, "mug")], [make_scene(1, floor="white")], 64)[0]
    large = render([make_toy(1, "mug")], [make_scene(1, floor="white")], 128)[0]
    halved = torch.nn.functional.avg_pool2d(large, 2)
    assert (image - halved).abs().mean() < 0.01
    assert len(image.unique()) > 1000


@pytest.mark.gpu
def test_a_gpu_renders_the_same():
    toys, scenes = [make_toy(i) for i in range(36)], [make_scene(i) for i in range(36)]
    ours, theirs = (to_uint8(render(toys, scenes, device=device)).cpu().int() for device in ("cpu", "cuda"))
    assert ((ours - theirs).abs() > 2).float().mean() < 1e-4


@pytest.mark.parametrize("name", COLOURS)
def test_a_named_floor_has_its_colour_in_the_picture(name):
    bare = Toy("robot", (), ((0, 0, 0), (0, 0, 0)))
    image = render([bare], [make_scene(9, floor=name)], 32)[0]
    seen = image[:, -3:].mean(dim=(1, 2))
    distances = {other: (seen - torch.tensor(rgb)).abs().max().item() for other, rgb in COLOURS.items()}
    assert min(distances, key=distances.get) == name


def test_every_place_looks_different():
    bare = Toy("robot", (), ((0, 0, 0), (0, 0, 0)))
    images = render([bare] * len(PLACES), [make_scene(2, place) for place in PLACES], 32)
    for i in range(len(images)):
        for j in range(i):
            assert (images[i] - images[j]).abs().mean() > 0.03


@pytest.mark.parametrize(("pattern", "share"), [("striped", 0.45), ("checkered", 0.5), ("dotted", 0.28)])
def test_a_pattern_covers_its_share_of_the_first_colour(pattern, share):
    ball = solids.Part("box", solids.MAIN, (0, 0.7, 0), (0.6, 0.6, 0.6))
    red, blue = (0.9, 0.0, 0.0), (0.0, 0.0, 0.9)
    scene = make_scene(0, floor="white")
    image = render([Toy("robot", (ball,), (red, blue), pattern, 0.2, "matte")], [scene], 96)[0]
    reds = ((image[0] > 0.3) & (image[1] < 0.25) & (image[2] < 0.25)).sum().item()
    blues = ((image[2] > 0.3) & (image[1] < 0.25) & (image[0] < 0.25)).sum().item()
    assert blues / (reds + blues) == pytest.approx(share, abs=0.12)


class Recorder:
    """Draws proportions at their lowest or highest value, and remembers the ranges."""

    def __init__(self, at):
        self.at, self.ranges = at, []

    def __call__(self, low, high):
        self.ranges.append((low, high))
        return low + self.at * (high - low)


@pytest.mark.parametrize("at", [-0.2, 0, 0.5, 1, 1.2])
@pytest.mark.parametrize("noun", NOUNS)
def test_toys_keep_within_the_reach_of_the_camera(noun, at):
    parts = shapes.BUILDERS[noun](Recorder(at))
    assert all(min(part.size[:2]) > 0 for part in parts)
    assert max(part.centre[1] for part in parts) < 2.4
    assert max(abs(part.centre[0]) for part in parts) < 1.3
    assert {solids.MAIN, solids.SECOND} <= {part.paint for part in parts}


def test_novel_toys_have_colours_without_a_name_and_proportions_beyond_the_range(monkeypatch):
    drawn = []

    def build(uniform):
        drawn.extend(uniform(1.0, 2.0) for _ in range(20))
        return [solids.Part("box", solids.MAIN, (0, 0.5, 0), (0.5, 0.5, 0.5))]

    monkeypatch.setitem(shapes.BUILDERS, "robot", build)
    for seed in range(50):
        toy = make_novel_toy(seed, "robot")
        assert toy.colour_names is None
        assert min(map(distance_to_names, toy.colours)) >= GAP > JITTER
    assert all(0.8 <= value <= 0.95 or 2.05 <= value <= 2.2 for value in drawn)
    assert min(drawn) < 1 < 2 < max(drawn)


def test_training_colours_stay_near_their_names():
    for seed in range(200):
        toy = make_toy(seed)
        for name, colour in zip(toy.colour_names, toy.colours, strict=True):
            assert max(abs(a - b) for a, b in zip(COLOURS[name], colour, strict=True)) <= JITTER + 1e-9


def test_views_of_a_concept_have_different_backdrops():
    for seed in range(20):
        scenes = make_scenes(seed, 6)
        assert len({(scene.place, scene.floor_name) for scene in scenes}) == 6


def test_a_full_caption_names_every_attribute():
    toy, scene = make_toy(11, "mug"), make_scene(3, floor="pink")
    text = full_caption(toy, scene)
    words = [*toy.colour_names, toy.noun, "on a pink floor", f"{scene.wall_name} wall"]
    words += [word for word in (toy.pattern, toy.material, toy.size) if word not in ("plain", "plastic", "medium")]
    assert all(word in text for word in words), text


def test_a_swapped_caption_has_the_same_words_in_another_order():
    toy, scene = make_toy(11, "mug"), make_scene(3, floor="pink")
    right, wrong = full_caption(toy, scene), swapped_caption(toy, scene)
    assert right != wrong
    assert sorted(set(right.split()) - {"a", "an"}) == sorted(set(wrong.split()) - {"a", "an"})


def test_partial_captions_leave_attributes_out_but_never_the_class():
    rng = random.Random(0)
    for seed in range(200):
        toy, scene = make_toy(seed), make_scene(seed)
        text = caption(toy, scene, rng)
        assert toy.noun in text.split()
        colours = {word for word in text.split() if word in COLOURS}
        assert colours <= {*toy.colour_names, scene.floor_name, scene.wall_name}


def test_articles():
    texts = [full_caption(make_toy(seed), make_scene(seed)) for seed in range(300)]
    assert not [text for text in texts if any(f" a {vowel}" in f" {text}" for vowel in "aeiou")]
    assert any(" an orange" in text for text in texts)


def test_the_tokenizer_has_a_token_for_every_word_and_room_for_every_caption():
    tokenizer = make_tokenizer()
    for word in vocabulary():
        pieces = len(tokenizer(word, add_special_tokens=False)["input_ids"])
        assert pieces == (3 if "-" in word else 1), word
    longest = max(len(tokenizer(full_caption(make_toy(i), make_scene(i)))["input_ids"]) for i in range(500))
    assert longest <= TEXT_LENGTH
    templates = [template.format("<robot-1>") for template in OBJECT_TEMPLATES]
    assert max(len(tokenizer(text)["input_ids"]) for text in templates) <= TEXT_LENGTH


def test_every_noun_has_a_builder_in_the_order_that_seeds_count():
    assert tuple(BUILDERS) == NOUNS
