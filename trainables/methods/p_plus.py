"""P+: a vector for the placeholder in each cross-attention layer of the U-Net (Voynov et al., 2023)."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from trainables.data.concept import Concept
from trainables.methods._words import ConceptWord, vector_tokens
from trainables.methods.base import Method
from trainables.models.base import BaseModel, cross_attention, denoiser_of

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

VECTORS_FILE = "learned_embeds_per_layer.safetensors"


class PerLayerText(nn.Module):
    """A text encoder that reads each caption once a cross-attention layer, each time with that layer's vector.

    The states of all layers lie side by side in the width, so that whoever calls text encoder and U-Net needs to know
    nothing of it; before each layer, its part is cut out.

    Args:
        text_encoder: has the placeholder among its words, with as many vectors as there are layers.
        layers: those that read text, which are served until `remove`.
        token_id: of the placeholder; further ones go into `token_ids`.
    """

    def __init__(self, text_encoder: Any, layers: Sequence[nn.Module], token_id: int) -> None:
        super().__init__()
        self.text_encoder, self.token_ids = text_encoder, [token_id]
        self.layers = len(layers)
        self._hooks = [
            layer.register_forward_pre_hook(self._cut(index), with_kwargs=True) for index, layer in enumerate(layers)
        ]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:  # pipelines ask the text encoder for its dtype, device and config
            if name == "text_encoder":  # not there yet: a copy is being made
                raise
            return getattr(self.text_encoder, name)

    def _cut(self, index: int) -> Any:
        def hook(module: nn.Module, arguments: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            states = options["encoder_hidden_states"]
            return arguments, options | {"encoder_hidden_states": states.chunk(self.layers, dim=-1)[index]}

        return hook

    def forward(self, input_ids: Tensor, **options: Any) -> tuple[Tensor]:
        """Return the states of all layers, shape (batch, tokens, layers * width), first of a tuple.

        Raises:
            ValueError: the states of an inner layer are asked for.
        """
        if options.get("output_hidden_states"):
            raise ValueError("a pipeline with P+ reads the text encoder's last layer; leave clip_skip out")
        is_word = torch.isin(input_ids, torch.tensor(self.token_ids, device=input_ids.device))
        states = [self.text_encoder(input_ids + is_word * index, **options)[0] for index in range(self.layers)]
        return (torch.cat(states, dim=-1),)

    def remove(self) -> None:
        """Leave the layers as they were."""
        for hook in self._hooks:
            hook.remove()


@dataclass(eq=False, kw_only=True)
class PPlus(Method):
    """Optimises the placeholder's embedding for every cross-attention layer on its own.

    The defaults are the original's: batch 8, AdamW at 5e-3, 500 steps.
    """

    trains: ClassVar[str] = "a word for each cross-attention"
    budget: ClassVar[int] = 500
    window: ClassVar[int] = 50
    threshold: ClassVar[float] = 0.15
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"original": {}}

    learning_rate: float = 5e-3
    batch_size: int = 8

    @property
    def trains_text(self) -> bool:
        """True: the placeholder is in every caption."""
        return True

    def attach(self, base: BaseModel, concept: Concept, generator: Generator) -> None:
        """Add the placeholder with a vector a layer, and hand each layer its own text states."""
        layers = base.text_readers()
        self._word = ConceptWord(base, concept, self.phrase_for(concept), len(layers), is_spelled_out=False)
        self.undo_with(self._word.remove)
        per_layer = PerLayerText(base.text_encoder, layers, self._word.first_id)
        self.undo_with(per_layer.remove)
        self.undo_with(functools.partial(setattr, base, "text_encoder", base.text_encoder))
        base.text_encoder = per_layer
        self._placeholder = concept.placeholder

    def parameters(self) -> Sequence[Tensor]:
        """Return the vectors."""
        return [self._word.vectors]

    def export(self, folder: Path) -> None:
        """Write the vectors under the placeholder's name, shape (layers, width)."""
        save_file({self._placeholder: self._word.vectors.detach().cpu().clone()}, folder / VECTORS_FILE)

    @classmethod
    def load_into(cls, pipeline: "DiffusionPipeline", folder: Path) -> None:
        """Give the pipeline a text encoder that serves each layer of its U-Net.

        It cannot be saved by `save_pretrained`, which knows nothing of it: load the export again.
        """
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
        """Set the vectors."""
        self._word.load_state_dict(state)
