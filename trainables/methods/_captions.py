"""Whether captions are read as meant: the placeholder as all of its vectors, and every other word as before."""

import string
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from trainables.data.concept import Concept, placeholder_for
from trainables.data.framing import PREFIXES
from trainables.data.prompts import SAMPLE_TEMPLATE
from trainables.errors import InvalidInput
from trainables.methods import _prior as prior
from trainables.models.base import ReadsCaptions

if TYPE_CHECKING:
    from trainables.methods.base import Method

#: Stands where the placeholder will stand; no caption holds it, while a short placeholder may be part of other words.
_HERE = "\0"


def check_captions(method: "Method", concept: Concept, before: ReadsCaptions, after: ReadsCaptions) -> None:
    """Check every caption and prompt of a personalization.

    Tokenizers change what they are given: that of CLIP writes small letters, and cuts a word at every placeholder that
    it finds in it. So a word might train fewer vectors than it has, or make other words unreadable.

    Args:
        method: whose templates and phrase are used.
        concept: whose placeholder and prompts are used.
        before: reads captions without the placeholder's tokens.
        after: reads captions with them; the same as `before` for a method that learns no word.

    Raises:
        InvalidInput: a caption is not understood or too long, the phrase lacks the placeholder, or a caption is read
            otherwise than with an ordinary word in the placeholder's place.
    """
    texts = list(_texts(method, concept))
    count = method.vectors_in_captions
    written = [text.replace(_HERE, concept.placeholder) for text in texts]
    rows = after.tokenize(written).tolist()
    if not count:
        return
    word, word_id = _ordinary_word(before, [text.replace(_HERE, " ") for text in texts])
    plain = before.tokenize([text.replace(_HERE, f" {' '.join([word] * count)} ") for text in texts]).tolist()
    first = after.tokenizer.convert_tokens_to_ids(concept.placeholder)
    own = [*range(first, first + count)]
    for caption, row, plain_row in zip(written, rows, plain, strict=True):
        if row != _with_vectors(plain_row, word_id, own):
            raise InvalidInput(_misread(concept, count, caption, row, after))


def check_phrase(concept: Concept, phrase: str) -> None:
    """Check that a phrase holds a concept's placeholder.

    Raises:
        InvalidInput: it does not.
    """
    if concept.placeholder not in phrase:
        raise InvalidInput(
            f"the phrase {phrase!r} lacks the placeholder {concept.placeholder!r}, whose embedding would not "
            "train; put {placeholder} into `phrase`"
        )


def _texts(method: "Method", concept: Concept) -> Iterator[str]:
    """Yield every caption and prompt of training and sampling, with a mark where the placeholder stands."""
    phrase = method.phrase_for(replace(concept, placeholder=_HERE))
    if method.vectors_in_captions:
        check_phrase(concept, phrase.replace(_HERE, concept.placeholder))
    if _HERE not in phrase:  # perhaps it was written out
        phrase = phrase.replace(concept.placeholder, _HERE)
    prefixes = PREFIXES if method.random_scale else PREFIXES[:1]
    templates = [prefix + template for prefix in prefixes for template in method.templates]
    for template in (*templates, SAMPLE_TEMPLATE, *concept.validation_prompts):
        yield _filled(template, phrase, concept)
    if method.prior:
        yield prior.caption(concept.class_noun)


def _filled(template: str, phrase: str, concept: Concept) -> str:
    try:
        caption = template.format(phrase)
    except (LookupError, ValueError) as error:
        raise InvalidInput(f"caption {template!r} is not understood ({error!r}); it needs a single {{}}") from error
    if phrase not in caption:
        raise InvalidInput(f"caption {template!r} leaves out {concept.name!r}; it needs a single {{}}")
    return caption


def _ordinary_word(reader: ReadsCaptions, texts: Sequence[str]) -> tuple[str, int]:
    """Return a word that is a single token, and its id, which occurs in none of the texts: a letter."""
    used = {token for row in reader.tokenize(texts).tolist() for token in row}
    for letter in string.ascii_lowercase:
        ids = reader.tokenizer(letter, add_special_tokens=False)["input_ids"]
        if len(ids) == 1 and ids[0] not in used:
            return letter, ids[0]
    raise InvalidInput("the captions hold every letter as a word, so that no word can be compared with the placeholder")


def _with_vectors(row: Sequence[int], word_id: int, own: Sequence[int]) -> list[int]:
    """Put the tokens of the vectors, in turn, where the ordinary word stands."""
    replaced, at = [], 0
    for token in row:
        replaced.append(own[at % len(own)] if token == word_id else token)
        at += token == word_id
    return replaced


def _misread(concept: Concept, count: int, caption: str, row: Sequence[int], reader: ReadsCaptions) -> str:
    special = {*reader.tokenizer.all_special_tokens}
    tokens = [token for token in reader.tokenizer.convert_ids_to_tokens(row) if token not in special]
    vectors = "its vector" if count == 1 else f"its {count} vectors in order"
    suggested = placeholder_for(concept.placeholder)
    hint = f", such as {suggested}" if suggested != concept.placeholder else ""
    return (
        f"placeholder {concept.placeholder!r} of concept {concept.name!r} does not stand for {vectors}, or cuts other "
        f"words: {caption!r} is read as {' '.join(tokens)}; choose another placeholder in concept.yaml{hint}"
    )
