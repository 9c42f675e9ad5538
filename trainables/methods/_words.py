"""ConceptWord: the placeholder as a word of a base model, with vectors that train."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.methods._captions import check_phrase
from trainables.models.base import BaseModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EMBEDDING_FILE = "learned_embeds.safetensors"


class ConceptWord:
    """Adds a concept's placeholder to a base model: to a copy of its tokenizer, and beside its table of embeddings.

    The vectors are a parameter of their own beside the frozen table, so weight decay cannot move any row of it. They
    start from the class noun's embedding.

    Args:
        base: model that gets the word; `remove` takes it away again.
        concept: whose placeholder and class noun are used.
        phrase: what stands for the concept in captions.
        num_vectors: embeddings that stand for the placeholder.
        is_spelled_out: whether a caption holds all vectors in sequence; otherwise it holds the first, and the others
            have the ids that follow, for a method that knows when to read which.

    Attributes:
        vectors: what trains, shape (num_vectors, width), float32.
        first_id: token id of the first vector; those of the others follow.

    Raises:
        InvalidInput: the placeholder is already a word, or the phrase does not hold it.
    """

    def __init__(
        self,
        base: BaseModel,
        concept: Concept,
        phrase: str,
        num_vectors: int = 1,
        *,
        is_spelled_out: bool = True,
    ) -> None:
        """Add the word; from here on, `base` has another tokenizer, and its text encoder another table."""
        check_phrase(concept, phrase)
        tokenizer = with_word(base.tokenizer, concept, num_vectors, is_spelled_out=is_spelled_out)
        start_ids = base.tokenizer(concept.class_noun, add_special_tokens=False)["input_ids"]
        self._base, self._placeholder = base, concept.placeholder
        self._original = (base.tokenizer, base.text_encoder.get_input_embeddings())
        table = self._original[1].weight
        # For a noun of several tokens, that is their mean: no single row stands for it.
        self.vectors = nn.Parameter(table[start_ids].float().mean(dim=0).repeat(num_vectors, 1))
        base.tokenizer = tokenizer
        self.first_id = tokenizer.convert_tokens_to_ids(concept.placeholder)
        base.text_encoder.set_input_embeddings(_EmbeddingWithConcept(self._original[1], self.vectors, self.first_id))

    def remove(self) -> None:
        """Give the base model back its own tokenizer and table of embeddings."""
        tokenizer, embedding = self._original
        self._base.tokenizer = tokenizer
        self._base.text_encoder.set_input_embeddings(embedding)

    def export(self, folder: Path, name: str = EMBEDDING_FILE) -> None:
        """Write the vectors under the placeholder, shape (vectors, width), as any diffusers pipeline's loader reads."""
        save_file({self._placeholder: self.vectors.detach().cpu().clone()}, folder / name)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the vectors as "vectors", shape (num_vectors, width), float32, not copied."""
        return {"vectors": self.vectors.detach()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy the vectors from a state that `state_dict` returned.

        Raises:
            InvalidInput: the number or the width of the state's vectors differs.
        """
        if state["vectors"].shape != self.vectors.shape:
            shapes = f"{tuple(state['vectors'].shape)}, expected {tuple(self.vectors.shape)}"
            raise InvalidInput(f"learned vectors of shape {shapes}; was num_vectors different?")
        with torch.no_grad():
            self.vectors.copy_(state["vectors"])


def vector_tokens(placeholder: str, count: int, *, is_spelled_out: bool) -> list[str]:
    """Return the tokens whose embeddings are a placeholder's vectors; the first is the placeholder itself.

    Args:
        placeholder: the word.
        count: number of vectors.
        is_spelled_out: whether a prompt that holds the placeholder holds all of them. diffusers' pipelines and
            `BaseModel.tokenize` write out what is numbered after an underscore, and nothing else.
    """
    joint = "_" if is_spelled_out else "-"
    return [placeholder, *(f"{placeholder}{joint}{index}" for index in range(1, count))]


def with_word(
    tokenizer: "PreTrainedTokenizerBase", concept: Concept, count: int, *, is_spelled_out: bool = True
) -> "PreTrainedTokenizerBase":
    """Return a copy of a tokenizer that has a concept's placeholder, with `count` vectors, among its words.

    Raises:
        InvalidInput: the placeholder is already a word.
    """
    tokenizer = copy.deepcopy(tokenizer)
    tokens = vector_tokens(concept.placeholder, count, is_spelled_out=is_spelled_out)
    _check_new(tokenizer, tokens, concept)
    tokenizer.add_tokens(tokens)
    return tokenizer


def _check_new(tokenizer: "PreTrainedTokenizerBase", tokens: Sequence[str], concept: Concept) -> None:
    """Refuse a placeholder that means something already."""
    is_word = len(tokenizer(concept.placeholder, add_special_tokens=False)["input_ids"]) == 1
    vocabulary = tokenizer.get_vocab()
    # Also the next number: pipelines would take a token of that name for a further vector.
    in_use = [token for token in (*tokens, f"{concept.placeholder}_{len(tokens)}") if token in vocabulary]
    if is_word or in_use:
        raise InvalidInput(
            f"placeholder {concept.placeholder!r} of concept {concept.name!r} is a word of the tokenizer already"
            f"{f' ({in_use[0]})' if in_use else ''}; choose another one in concept.yaml"
        )


class _EmbeddingWithConcept(nn.Module):
    """The frozen table of embeddings with a few more tokens, from `first_id` on, whose vectors train."""

    def __init__(self, table: nn.Embedding, vectors: nn.Parameter, first_id: int) -> None:
        super().__init__()
        self.table, self.first_id = table, first_id
        self._vectors = (vectors,)  # in a tuple, so that torch does not register it: the encoder's dtype is the table's

    @property
    def weight(self) -> Tensor:
        return self.table.weight

    def forward(self, input_ids_bl: Tensor) -> Tensor:
        vectors = self._vectors[0]
        is_own = (input_ids_bl >= self.first_id) & (input_ids_bl < self.first_id + len(vectors))
        embedded: Tensor = self.table(input_ids_bl.masked_fill(is_own, 0))
        for token_id, vector in enumerate(vectors, self.first_id):
            is_token = (input_ids_bl == token_id).unsqueeze(-1)
            embedded = torch.where(is_token, vector.to(embedded.dtype), embedded)
        return embedded
