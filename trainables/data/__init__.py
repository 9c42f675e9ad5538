"""What a method learns from: concepts, and the denoising problems that are drawn from them.

Start with `Concept`: the images of an object, its class noun and its placeholder. `inputs.InputSource` draws batches
of images, captions, latents, timesteps and noise from it; `framing` says which part of an image is shown, `prompts`
holds the captions, and `randomness` the named streams from which everything is drawn.

Exported here is what reads and writes concepts: none of it imports torch.
"""

from trainables.data.concept import (
    Concept,
    class_noun_for,
    concept_from_images,
    load_concept,
    load_concepts,
    placeholder_for,
    write_concept,
)
from trainables.data.concept_image import ConceptImage

__all__ = [
    "Concept",
    "ConceptImage",
    "class_noun_for",
    "concept_from_images",
    "load_concept",
    "load_concepts",
    "placeholder_for",
    "write_concept",
]
