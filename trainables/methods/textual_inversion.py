"""Textual Inversion: learn a word's embedding and nothing else (Gal et al., 2022)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.base_model import BaseModel
from trainables.concept import Concept
from trainables.errors import InvalidInput
from trainables.inputs import Inputs
from trainables.methods.base import Method
from trainables.prompts import OBJECT_TEMPLATES, SAMPLE_TEMPLATE

EXPORT_NAME = "learned_embeds.safetensors"


class TextualInversion(Method):
    """Optimises the embedding of the placeholder, starting from that of the class noun.

    The learned vectors are a parameter of their own beside the frozen table, so weight decay cannot move any row of it.
    The defaults are the recipe that the paper's authors ran: batch 2, AdamW at 1e-2 (5e-3 scaled by the batch).

    Args:
        learning_rate: of AdamW, positive.
        weight_decay: of AdamW.
        batch_size: inputs a step.
        templates: captions of training images, one `{}` each.
        flip_probability: chance that an image is mirrored.
        num_vectors: embeddings that stand for the placeholder, one after the other (Gal et al., section 5.3): more of
            them describe more, and are harder to combine with other words.
    """

    def __init__(
        self,
        learning_rate: float = 1e-2,
        weight_decay: float = 1e-2,
        batch_size: int = 2,
        templates: Sequence[str] = OBJECT_TEMPLATES,
        flip_probability: float = 0.5,
        num_vectors: int = 1,
    ) -> None:
        if not learning_rate > 0:
            raise InvalidInput(f"learning_rate must be positive, got {learning_rate}")
        if batch_size < 1:
            raise InvalidInput(f"batch_size must be at least 1, got {batch_size}")
        if num_vectors < 1:
            raise InvalidInput(f"num_vectors must be at least 1, got {num_vectors}")
        if not 0 <= flip_probability <= 1:
            raise InvalidInput(f"flip_probability must lie between 0 and 1, got {flip_probability}")
        if not templates or any(template.count("{}") != 1 for template in templates):
            raise InvalidInput(f"templates must be captions with exactly one {{}} each, got {list(templates)}")
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.templates = tuple(templates)
        self.flip_probability = flip_probability
        self.num_vectors = num_vectors

    def settings(self) -> Mapping[str, Any]:
        """Return the constructor's arguments."""
        return {
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "batch_size": self.batch_size,
            "templates": list(self.templates),
            "flip_probability": self.flip_probability,
            "num_vectors": self.num_vectors,
        }

    def attach(self, base: BaseModel, concept: Concept) -> None:
        """Add the placeholder to a copy of the tokenizer, and its vectors beside the table of embeddings."""
        tokenizer = base.with_own_tokenizer()
        start_ids = tokenizer(concept.class_noun, add_special_tokens=False)["input_ids"]
        is_word = len(tokenizer(concept.placeholder, add_special_tokens=False)["input_ids"]) == 1
        # diffusers' names for the tokens of one placeholder: its pipelines and `BaseModel.tokenize` write them out.
        tokens = [concept.placeholder, *(f"{concept.placeholder}_{i}" for i in range(1, self.num_vectors))]
        # One name more: pipelines would take a token that goes on counting for one more vector.
        vocabulary = tokenizer.get_vocab()
        known = [token for token in (*tokens, f"{concept.placeholder}_{self.num_vectors}") if token in vocabulary]
        if is_word or known:
            raise InvalidInput(
                f"placeholder {concept.placeholder!r} of concept {concept.name!r} is a word of the tokenizer already"
                f"{f' ({known[0]})' if known else ''}; choose another one in concept.yaml"
            )
        tokenizer.add_tokens(tokens)
        self._check_length(tokenizer, tokens, concept)
        self._base, self._concept = base, concept
        self._original = (base.tokenizer, base.text_encoder.get_input_embeddings())
        table = self._original[1].weight
        # A noun of several tokens starts from their mean: no single row stands for it.
        self._vectors = nn.Parameter(table[start_ids].float().mean(dim=0).repeat(self.num_vectors, 1))
        base.tokenizer = tokenizer
        first_id = tokenizer.convert_tokens_to_ids(concept.placeholder)
        base.text_encoder.set_input_embeddings(_EmbeddingWithConcept(self._original[1], self._vectors, first_id))

    def _check_length(self, tokenizer: Any, tokens: Sequence[str], concept: Concept) -> None:
        """Refuse vectors for which a caption has no room."""
        templates = (*self.templates, SAMPLE_TEMPLATE, *concept.validation_prompts)
        captions = [template.format(" ".join(tokens)) for template in templates]
        longest = max(len(ids) for ids in tokenizer(captions)["input_ids"])
        if longest > tokenizer.model_max_length:
            raise InvalidInput(
                f"with num_vectors {self.num_vectors} a caption has {longest} tokens, and the text encoder reads "
                f"{tokenizer.model_max_length}; choose fewer vectors, or shorter templates and validation prompts"
            )

    def detach(self) -> None:
        """Give the base model its own tokenizer and table of embeddings back."""
        tokenizer, embedding = self._original
        self._base.tokenizer = tokenizer
        self._base.text_encoder.set_input_embeddings(embedding)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the vectors."""
        return [{"params": [self._vectors], "lr": self.learning_rate, "weight_decay": self.weight_decay}]

    def denoise(self, inputs: Inputs) -> Tensor:
        """Encode the captions with the vectors as they are now, and predict."""
        text_bld = self._base.text_encoder(inputs.input_ids_bl)[0]
        return self._base.denoise(inputs.noisy_latents_bchw, inputs.timesteps_b, text_bld)

    def loss(self, inputs: Inputs) -> Tensor:
        """Return the mean squared error (paper, equation 2), in float32."""
        return F.mse_loss(self.denoise(inputs).float(), inputs.target_bchw)

    def export(self, folder: Path) -> None:
        """Write `learned_embeds.safetensors`, shape (vectors, width), for any diffusers pipeline's loader."""
        save_file({self._concept.placeholder: self._vectors.detach().cpu().clone()}, folder / EXPORT_NAME)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the vectors, shape (vectors, width), float32."""
        return {"vectors": self._vectors.detach()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Set the vectors.

        Raises:
            InvalidInput: the state has another number of vectors, or of another width.
        """
        if state["vectors"].shape != self._vectors.shape:
            shapes = f"{tuple(state['vectors'].shape)}, expected {tuple(self._vectors.shape)}"
            raise InvalidInput(f"learned vectors of shape {shapes}; was num_vectors another one?")
        with torch.no_grad():
            self._vectors.copy_(state["vectors"])


class _EmbeddingWithConcept(nn.Module):
    """The frozen table of embeddings with a few more tokens, from `first_id` on, whose vectors are trained."""

    def __init__(self, table: nn.Embedding, vectors: nn.Parameter, first_id: int) -> None:
        super().__init__()
        self.table, self.first_id = table, first_id
        self._vectors = (vectors,)  # in a tuple: torch must not register it, for the encoder's dtype is the table's

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
