"""What a driver checks of captions before it starts workers: that each is read as meant; only a tokenizer is loaded."""

import copy
from collections.abc import Sequence

from trainables.data.concept import Concept
from trainables.methods._captions import check_captions
from trainables.methods._words import with_word
from trainables.models.files import resolve
from trainables.models.loading import load_tokenizer
from trainables.training.config import RunConfig


def check_words(config: RunConfig, concepts: Sequence[Concept]) -> None:
    """Check the captions and prompts of every concept with the base model's tokenizer.

    Raises:
        InvalidInput: a placeholder is a word already, or a caption is unusable; see `check_captions`.
    """
    method, before = config.method(), load_tokenizer(resolve(config.base_model))
    for concept in concepts:
        after = before
        if method.vectors_in_captions:
            after = copy.copy(before)
            after.tokenizer = with_word(before.tokenizer, concept, method.vectors_in_captions)
        check_captions(method, concept, before, after)
