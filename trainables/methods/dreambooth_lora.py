"""DreamBooth-LoRA: low-rank updates of the U-Net's attention (Hu et al., 2022; Ruiz et al., 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Generator, Tensor

from trainables.checks import check_at_most
from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.methods._words import EMBEDDING_FILE, ConceptWord
from trainables.methods.base import Method
from trainables.models.base import BaseModel
from trainables.settings import MAX_COUNT
from trainables.sums import check_sums
from trainables.tensors import grouped, part
from trainables.types import JsonObject

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

ADAPTER = "concept"


@dataclass(eq=False, kw_only=True)
class DreamBoothLoRA(Method):
    """Adds a product of two small matrices to every query, key, value and output of the U-Net's attention.

    The defaults are the recipe that the paper's authors ran, which also learns the placeholder's embedding.

    Attributes:
        rank: of the products.
        alpha: their scale is alpha / rank; None takes the rank.
        learns_word: whether the placeholder's embedding trains too.
    """

    trains: ClassVar[str] = "LoRA in attention, a word"
    budget: ClassVar[int] = 1000
    window: ClassVar[int] = 440
    threshold: ClassVar[float] = 0.40
    recipes: ClassVar[Mapping[str, JsonObject]] = {
        "paper": {},
        "diffusers": {
            "learning_rate": 1e-4,
            "batch_size": 1,
            "templates": ("a photo of {}",),
            "phrase": "sks {class_noun}",
            "flip_probability": 0.0,
            "random_crop": True,
            "max_grad_norm": 1.0,
            "learns_word": False,
        },
    }

    learning_rate: float = 1e-3
    batch_size: int = 2
    rank: int = 4
    alpha: int | None = None
    learns_word: bool = True

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            InvalidInput: a setting is out of its range.
        """
        super().__post_init__()
        if self.rank < 1:
            raise InvalidInput(f"rank must be at least 1, got {self.rank}")
        check_at_most(self, rank=MAX_COUNT)
        if self.alpha is not None and self.alpha < 1:
            raise InvalidInput(f"alpha must be at least 1, got {self.alpha}; null takes the rank")

    @property
    def trains_text(self) -> bool:
        """Whether the placeholder's embedding trains."""
        return self.learns_word

    @property
    def vectors_in_captions(self) -> int:
        """One if the placeholder's embedding trains."""
        return int(self.learns_word)

    def attach(self, base: BaseModel, concept: Concept, generator: Generator) -> None:
        """Add the products, whose first factor is Gaussian and whose second is zero, and the placeholder."""
        from peft import LoraConfig

        self._base = base
        self._word = ConceptWord(base, concept, self.phrase_for(concept)) if self.learns_word else None
        if self._word:
            self.undo_with(self._word.remove)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha or self.rank,
            init_lora_weights="gaussian",
            target_modules=[*base.attention_projections()],
        )
        # peft draws from torch's global generators, whose state must not change.
        with torch.random.fork_rng(devices=[base.device] if base.device.type == "cuda" else []):
            base.denoiser.add_adapter(config, adapter_name=ADAPTER)
        self.undo_with(base.denoiser.unload_lora)
        self._factors = {name: p for name, p in base.denoiser.named_parameters() if f".{ADAPTER}." in name}
        for name, factor in self._factors.items():
            factor.data = factor.data.float()
            if ".lora_A." in name:  # peft's "gaussian": a deviation of 1 / rank
                factor.data.copy_(torch.randn(factor.shape, generator=generator) / self.rank)
            factor.requires_grad_(True)

    def parameters(self) -> Sequence[Tensor]:
        """Return the factors, and the placeholder's embedding if it trains."""
        return [*self._factors.values(), *([self._word.vectors] if self._word else [])]

    def export(self, folder: Path) -> None:
        """Write `pytorch_lora_weights.safetensors` for `load_lora_weights`, and `learned_embeds.safetensors`."""
        from diffusers.utils import convert_state_dict_to_diffusers
        from peft.utils import get_peft_model_state_dict

        factors = get_peft_model_state_dict(self._base.denoiser, adapter_name=ADAPTER)
        # Readers assume that alpha equals the rank: the scale goes into the second factor.
        scale = (self.alpha or self.rank) / self.rank
        factors = {name: value * scale if "lora_B" in name else value for name, value in factors.items()}
        layers = convert_state_dict_to_diffusers(factors)
        self._base.save_adapter(folder, {name: value.cpu() for name, value in layers.items()})
        if self._word:
            self._word.export(folder)

    @classmethod
    def load_into(cls, pipeline: "DiffusionPipeline", folder: Path) -> None:
        """Load the factors, and the word if it was exported, by the pipeline's own loaders."""
        check_sums(folder)
        pipeline.load_lora_weights(folder)
        if (folder / EMBEDDING_FILE).is_file():
            pipeline.load_textual_inversion(folder / EMBEDDING_FILE)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the factors under "lora", and the vectors under "word", float32."""
        factors = {name: factor.detach() for name, factor in self._factors.items()}
        return grouped(lora=factors, word=self._word.state_dict() if self._word else {})

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy the factors and the vectors from a state that `state_dict` returned."""
        factors = part(state, "lora")
        for name, factor in self._factors.items():
            factor.copy_(factors[name])
        if self._word:
            self._word.load_state_dict(part(state, "word"))
