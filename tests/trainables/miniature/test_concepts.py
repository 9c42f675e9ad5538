"""The 56 concepts: which there are, that they are the same every time, and that written folders can be read."""

import pytest
from PIL import Image

from trainables.data.concept import load_concepts, write_concept
from trainables.errors import InvalidInput
from trainables.miniature import concepts, entries
from trainables.miniature.world.captions import PLACE_WORDS
from trainables.miniature.world.colours import GAP, distance_to_names

pytestmark = pytest.mark.model


def test_48_concepts_are_for_testing_and_8_of_different_classes_for_tuning():
    assert len(entries.TEST) == 48
    assert len({entries.ENTRIES[name].noun for name in entries.TUNING}) == 8
    assert not set(entries.TEST) & set(entries.TUNING)
    assert set(entries.FEW) <= set(entries.ENTRIES)


def test_every_concept_has_four_to_six_views_and_colours_of_its_own():
    toys = [concepts.toy(name) for name in entries.ENTRIES]
    assert len({toy.colours for toy in toys}) == len(toys)
    assert all(min(map(distance_to_names, toy.colours)) >= GAP for toy in toys)
    assert {len(concepts.scenes(name)) for name in entries.ENTRIES} == {4, 5, 6}


def test_a_concept_is_the_same_every_time(toy_concepts):
    concepts._concept.cache_clear()
    assert concepts.load(entries.FEW) == toy_concepts


def test_validation_prompts_have_contexts_that_no_image_shows(toy_concepts):
    for concept in toy_concepts:
        scenes = concepts.scenes(concept.name)
        prompts = concept.validation_prompts
        assert len(set(prompts)) == 4
        shown = [f" {scene.floor_name} floor" for scene in scenes if scene.place == "room"]
        shown += [f" {PLACE_WORDS[scene.place]}" for scene in scenes if scene.place != "room"]
        assert not [words for words in shown if any(prompt.endswith(words) for prompt in prompts)]


def test_the_error_for_an_unknown_concept_names_it():
    with pytest.raises(InvalidInput, match=r"no concept 'robot_9'; did you mean 'robot_\d'"):
        concepts.load(["robot_9"])


def test_a_written_concept_reads_back_the_same(toy_concepts, tmp_path):
    write_concept(toy_concepts[0], tmp_path)
    (again,) = load_concepts(tmp_path)
    assert again.class_noun == toy_concepts[0].class_noun
    assert again.validation_prompts == toy_concepts[0].validation_prompts
    assert [image.data for image in again.images] == [image.data for image in toy_concepts[0].images]
    with pytest.raises(InvalidInput, match="exists already"):
        write_concept(toy_concepts[0], tmp_path)


def test_images_have_the_requested_size():
    (concept,) = concepts.load(["mug_1"], size=40)
    assert concept.decode()[0].size == (40, 40)
    assert isinstance(concept.decode()[0], Image.Image)
