"""P+: a vector of the placeholder for each cross-attention layer of the U-Net (Voynov et al., 2023)."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

from trainables.data.concept import Concept
from trainables.methods._words import ConceptWord, vector_tokens
from trainables.methods.base import Method
from trainables.models.base import BaseModel, cross_attention, denoiser_of
from trainables.sums import check_sums
from trainables.types import JsonObject

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from transformers import PreTrainedModel

VECTORS_FILE = "learned_embeds_per_layer.safetensors"

#: Changes a layer's arguments: (layer, positional, by name) -> (positional, by name).
Hook = Callable[[nn.Module, tuple[object, ...], dict[str, Tensor]], tuple[tuple[object, ...], dict[str, Tensor]]]


class PerLayerText(nn.Module):
    """A text encoder that reads each caption once per cross-attention layer, each time with that layer's vector.

    The states of all layers are concatenated along the width, so that callers of the text encoder and the U-Net need
    no change; each layer's part is cut out just before the layer.

    Args:
        text_encoder: has the placeholder among its words, with as many vectors as there are layers.
        layers: those that read text; they are served until `remove`.
        token_id: of the placeholder; those of further placeholders are appended to `token_ids`.
    """

    def __init__(self, text_encoder: "PreTrainedModel", layers: Sequence[nn.Module], token_id: int) -> None:
        """Hook into the layers, which from here on expect the states of all layers."""
        super().__init__()
        self.text_encoder, self.token_ids = text_encoder, [token_id]
        self.layers = len(layers)
        self._hooks = [
            layer.register_forward_pre_hook(self._cut(index), with_kwargs=True) for index, layer in enumerate(layers)
        ]

    def __getattr__(self, name: str) -> Any:
        """Return what this module lacks from the text encoder that it wraps."""
        try:
            return super().__getattr__(name)
        except AttributeError:  # pipelines ask the text encoder for its dtype, device and config
            if name == "text_encoder":  # not set yet: this is a copy in the making
                raise
            return getattr(self.text_encoder, name)

    def _cut(self, index: int) -> Hook:
        def hook(
            module: nn.Module, arguments: tuple[object, ...], options: dict[str, Tensor]
        ) -> tuple[tuple[object, ...], dict[str, Tensor]]:
            states = options["encoder_hidden_states"]
            return arguments, options | {"encoder_hidden_states": states.chunk(self.layers, dim=-1)[index]}

        return hook

    def forward(self, input_ids: Tensor, **options: object) -> tuple[Tensor]:
        """Return the states of all layers, shape (batch, tokens, layers * width), as the first item of a tuple.

        Raises:
            ValueError: the states of an inner layer are requested.
        """
        if options.get("output_hidden_states"):
            raise ValueError("a pipeline with P+ reads the text encoder's last layer; leave clip_skip out")
        is_word = torch.isin(input_ids, torch.tensor(self.token_ids, device=input_ids.device))
        states = [self.text_encoder(input_ids + is_word * index, **options)[0] for index in range(self.layers)]
        return (torch.cat(states, dim=-1),)

    def remove(self) -> None:
        """Remove the hooks: the layers read the states that they are given."""
        for hook in self._hooks:
            hook.remove()


@dataclass(eq=False, kw_only=True)
class PPlus(Method):
    """Optimizes an embedding of the placeholder for every cross-attention layer.

    The defaults are the original's: batch 8, AdamW at 5e-3, 500 steps.
    """

    trains: ClassVar[str] = "a word for each cross-attention"
    budget: ClassVar[int] = 500
    window: ClassVar[int] = 50
    threshold: ClassVar[float] = 0.15
    recipes: ClassVar[Mapping[str, JsonObject]] = {"original": {}}

    learning_rate: float = 5e-3
    batch_size: int = 8

    @property
    def trains_text(self) -> bool:
        """True: the placeholder is in every caption."""
        return True

    @property
    def vectors_in_captions(self) -> int:
        """One: each layer reads its own in its place."""
        return 1

    def attach(self, base: BaseModel, concept: Concept, generator: Generator) -> None:
        """Add the placeholder with one vector per layer, and give each layer its own text states."""
        layers = base.text_readers()
        self._word = ConceptWord(base, concept, self.phrase_for(concept), len(layers), is_spelled_out=False)
        self.undo_with(self._word.remove)
        per_layer = PerLayerText(base.text_encoder, layers, self._word.first_id)
        self.undo_with(per_layer.remove)
        self.undo_with(functools.partial(setattr, base, "text_encoder", base.text_encoder))
        base.text_encoder = per_layer

    def parameters(self) -> Sequence[Tensor]:
        """Return the vectors of all layers as a single tensor, shape (layers, width)."""
        return [self._word.vectors]

    def export(self, folder: Path) -> None:
        """Write `learned_embeds_per_layer.safetensors`: the vectors under the placeholder, shape (layers, width)."""
        self._word.export(folder, VECTORS_FILE)

    @classmethod
    def load_into(cls, pipeline: "DiffusionPipeline", folder: Path) -> None:
        """Give the pipeline a text encoder that serves each layer of its U-Net.

        `save_pretrained` cannot save such a pipeline: load the export again instead.
        """
        check_sums(folder)
        ((placeholder, vectors),) = load_file(folder / VECTORS_FILE).items()
        tokens = vector_tokens(placeholder, len(vectors), is_spelled_out=False)
        pipeline.load_textual_inversion([*vectors], token=tokens)
        first_id = pipeline.tokenizer.convert_tokens_to_ids(placeholder)
        if isinstance(pipeline.text_encoder, PerLayerText):  # of another concept, loaded before
            pipeline.text_encoder.token_ids.append(first_id)
        else:
            layers = cross_attention(denoiser_of(pipeline))
            pipeline.text_encoder = PerLayerText(pipeline.text_encoder, layers, first_id)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the vectors, shape (layers, width), float32."""
        return self._word.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy the vectors from a state that `state_dict` returned."""
        self._word.load_state_dict(state)
