"""Captions are checked on the driver: every vector stands in order, every other word is read as before, or an error."""

import dataclasses

import pytest
from diffusers.loaders import TextualInversionLoaderMixin
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.concept import Concept, placeholder_for
from trainables.data.concept_image import ConceptImage
from trainables.data.prompts import OBJECT_TEMPLATES
from trainables.errors import InvalidInput
from trainables.methods import MethodSpec
from trainables.methods._words import with_word
from trainables.methods.textual_inversion import TextualInversion
from trainables.miniature.entries import ENTRIES
from trainables.models.embedded import WEIGHTS
from trainables.models.loading import load_tokenizer
from trainables.settings import BaseModelSettings
from trainables.training.config import RunConfig
from trainables.training.training import Training
from trainables.training.words import check_words

IMAGES = (ConceptImage("a.png", b""),)  # never decoded
METHODS = ("custom_diffusion", "dreambooth", "dreambooth_lora", "p_plus", "svdiff", "textual_inversion")


def check(placeholder="<my-dog>", method="textual_inversion", prompts=("a {} in the snow",), noun="dog", **settings):
    concept = Concept("rex", noun, placeholder, IMAGES, tuple(prompts))
    config = RunConfig(BaseModelSettings(), MethodSpec(f"trainables.methods.{method}", settings), 10)
    check_words(config, [concept])


@pytest.mark.parametrize("method", METHODS)
def test_placeholders_that_folders_get_by_themselves_are_fine(method):
    names = [*ENTRIES, "my_dog", "Hündin", "2024", "狗", "дом-2", "x"] if method == METHODS[-1] else ["my_dog", "x"]
    for name in names:
        check(placeholder_for(name), method)


@pytest.mark.parametrize("num_vectors", [1, 2, 5])
@pytest.mark.parametrize("placeholder", ["<my-dog>", "sks", "<2>", "[dog]", "dog1x", "<caf\u00e9>", "<狗>", "#rex#"])
def test_placeholders_that_work(placeholder, num_vectors):
    check(placeholder, num_vectors=num_vectors)


@pytest.mark.parametrize(
    ("placeholder", "num_vectors"),
    [
        ("ph", 1), ("ph", 3), ("oto", 1), ("hoto", 2), ("ictu", 1), ("rop", 4),
        ("<My-Dog>", 4), ("<MY>", 2), ("MyDog", 3), ("<cafe\u0301>", 2), ("\u0130x", 2), ("<\u212b>", 3),
    ],
)  # fmt: skip
def test_placeholders_that_cut_words_or_lose_vectors_are_refused(placeholder, num_vectors):
    with pytest.raises(InvalidInput, match=r"concept 'rex' does not stand for its .*choose another.*, such as <"):
        check(placeholder, num_vectors=num_vectors)
    check(placeholder_for(placeholder), num_vectors=num_vectors)  # what the message suggests


@pytest.mark.parametrize("placeholder", ["photo", "*", "<|endoftext|>", "of"])
def test_words_that_exist_are_refused(placeholder):
    with pytest.raises(InvalidInput, match="is a word of the tokenizer already"):
        check(placeholder)


def test_one_vector_keeps_its_capitals():
    check("<My-Dog>")


@pytest.mark.parametrize(
    ("where", "options"),
    [
        ("a template", {"templates": ["a sketch of a {}"]}),
        ("the phrase", {"phrase": "{placeholder} sketch"}),
        ("a validation prompt", {"prompts": ["a {} on a sketch"]}),
        ("the caption of the class", {"prior": {}, "noun": "sketch"}),
    ],
)
def test_every_text_is_read(where, options):
    check("<ketc>", **options)
    with pytest.raises(InvalidInput, match="cuts other words"):
        check("ketc", **options)


def test_prefixes_of_scaled_images_are_read():
    plain = {"templates": ["{}"], "prompts": (), "method": "custom_diffusion", "prior": None}
    check("zoo", random_scale=False, **plain)
    with pytest.raises(InvalidInput, match="'zoomed in zoo dog' is read as"):
        check("zoo", random_scale=True, **plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompts": ["a {x} beside {}"]}, "'a {x} beside {}' of concept 'rex' needs exactly one {}"),
        ({"prompts": ["a {{}}"]}, "'a {{}}' of concept 'rex' needs exactly one {}"),
        ({"templates": ["{} {0}"]}, "exactly one {} each, got ['{} {0}']"),
        ({"phrase": "sks {class_noun}"}, "lacks the placeholder '<my-dog>'"),
        ({"prompts": ["a {} " + "in the snow " * 40]}, "tokens, and the text encoder reads"),
        ({"num_vectors": 90}, "fewer vectors"),
        ({"prompts": ["{} " + "in the snow " * 40], "method": "dreambooth"}, "tokens, and the text encoder reads"),
    ],
)
def test_captions_that_cannot_be_used(options, message):
    with pytest.raises(InvalidInput) as caught:
        check(**options)
    assert message in str(caught.value)


def test_a_placeholder_may_be_written_out_in_the_phrase():
    check("<my-dog>", phrase="<my-dog> {class_noun}", num_vectors=2)


WORDS = st.text("abehoptx<>-_*13Aé", min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(WORDS, st.integers(1, 3))
def test_what_passes_is_read_as_meant(placeholder, num_vectors):
    """Read independently of the check: the parts of every caption around the placeholder, each on its own."""
    try:
        check(placeholder, num_vectors=num_vectors)
    except InvalidInput:
        return
    plain = load_tokenizer(WEIGHTS)
    concept = Concept("rex", "dog", placeholder, IMAGES)
    tokenizer = with_word(plain.tokenizer, concept, num_vectors)
    for template in OBJECT_TEMPLATES:
        written = TextualInversionLoaderMixin().maybe_convert_prompt(template.format(placeholder), tokenizer)
        ids = tokenizer(written, add_special_tokens=False)["input_ids"]
        parts = [plain.tokenizer(part, add_special_tokens=False)["input_ids"] for part in template.split("{}")]
        assert ids == parts[0] + [*range(len(plain.tokenizer), len(plain.tokenizer) + num_vectors)] + parts[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["<a>", "<a>_1", "<b>", "<B>", "ph", "photo", "of", "a", "x<a>y", ","]), max_size=6))
def test_captions_are_written_out_as_in_diffusers(words):
    reader = load_tokenizer(WEIGHTS)
    for placeholder, count in (("<a>", 3), ("<b>", 1), ("<B>", 2), ("ph", 2)):
        reader.tokenizer.add_tokens([placeholder, *(f"{placeholder}_{number}" for number in range(1, count))])
    caption = " ".join(words)
    theirs = TextualInversionLoaderMixin().maybe_convert_prompt(caption, reader.tokenizer)
    assert reader._written_out(caption) == theirs


@pytest.mark.parametrize(("placeholder", "num_vectors"), [("ph", 1), ("<My-Dog>", 4), ("oto", 2)])
def test_a_training_of_ones_own_is_checked_too(base, toy_concepts, placeholder, num_vectors):
    tokenizer, concept = base.tokenizer, dataclasses.replace(toy_concepts[0], placeholder=placeholder)
    with pytest.raises(InvalidInput, match="does not stand for"):
        Training(base, TextualInversion(num_vectors=num_vectors), concept)
    assert base.tokenizer is tokenizer
