"""Textual Inversion: learn a word's embedding and nothing else (Gal et al., 2022)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from torch import Generator, Tensor

from trainables.checks import check_at_most
from trainables.data.concept import Concept
from trainables.data.prompts import OBJECT_TEMPLATES
from trainables.errors import InvalidInput
from trainables.methods._words import EMBEDDING_FILE, ConceptWord
from trainables.methods.base import Method
from trainables.models.base import BaseModel
from trainables.settings import MAX_COUNT
from trainables.sums import check_sums
from trainables.types import JsonObject

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


@dataclass(eq=False, kw_only=True)
class TextualInversion(Method):
    """Optimizes the embedding of the placeholder, starting from that of the class noun.

    The defaults are the recipe that the paper's authors ran: batch 2, AdamW at 1e-2 (5e-3 scaled by the batch). The
    captions are our own; published captions can be given as `templates`.

    Attributes:
        num_vectors: embeddings that stand for the placeholder, in sequence (Gal et al., section 5.3): more vectors
            describe more, and are harder to combine with other words.
    """

    trains: ClassVar[str] = "a word"
    budget: ClassVar[int] = 6100
    window: ClassVar[int] = 310
    threshold: ClassVar[float] = 0.15
    recipes: ClassVar[Mapping[str, JsonObject]] = {
        "paper": {},
        # Single images, accumulated over four; 5e-4, scaled by these.
        "diffusers": {
            "batch_size": 4,
            "micro_batch": 1,
            "learning_rate": 2e-3,
            "templates": OBJECT_TEMPLATES[:27],
        },
    }

    learning_rate: float = 1e-2
    batch_size: int = 2
    num_vectors: int = 1

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            InvalidInput: a setting is out of its range.
        """
        super().__post_init__()
        if self.num_vectors < 1:
            raise InvalidInput(f"num_vectors must be at least 1, got {self.num_vectors}")
        check_at_most(self, num_vectors=MAX_COUNT)

    @property
    def trains_text(self) -> bool:
        """True: the placeholder is in every caption."""
        return True

    @property
    def vectors_in_captions(self) -> int:
        """All of them, in sequence."""
        return self.num_vectors

    def attach(self, base: BaseModel, concept: Concept, generator: Generator) -> None:
        """Add the placeholder to a copy of the tokenizer, and its vectors beside the table of embeddings."""
        self._word = ConceptWord(base, concept, self.phrase_for(concept), self.num_vectors)
        self.undo_with(self._word.remove)

    def parameters(self) -> Sequence[Tensor]:
        """Return the vectors as a single tensor, shape (num_vectors, width)."""
        return [self._word.vectors]

    def export(self, folder: Path) -> None:
        """Write `learned_embeds.safetensors`, shape (vectors, width), for any diffusers pipeline's loader."""
        self._word.export(folder)

    @classmethod
    def load_into(cls, pipeline: "DiffusionPipeline", folder: Path) -> None:
        """Load the vectors by the pipeline's own loader."""
        check_sums(folder)
        pipeline.load_textual_inversion(folder / EMBEDDING_FILE)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the vectors, shape (num_vectors, width), float32."""
        return self._word.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy the vectors from a state that `state_dict` returned.

        Raises:
            InvalidInput: the number or the width of the state's vectors differs.
        """
        self._word.load_state_dict(state)
