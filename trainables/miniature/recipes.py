"""Recipes: the settings by which each method learns a concept of the miniature; no torch.

The methods' own defaults are for Stable Diffusion 1.5. The miniature has a hundredth of its weights, and its concepts
differ from their class in colours and proportions alone, so rates and lengths are its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from trainables.types import JsonObject


@dataclass(frozen=True)
class Recipe:
    """How a method learns a concept of the miniature.

    Attributes:
        settings: of the method's constructor.
        budget: optimizer steps after whose first part little is gained.
        every: steps between snapshots of quality.
    """

    settings: JsonObject
    budget: int
    every: int


#: Images of a class for prior preservation: the miniature draws them in seconds.
PRIOR = {"images": 64, "inference_steps": 10, "guidance_scale": 3.0}

RECIPES: Mapping[str, Recipe] = {
    # Eight vectors: one of this small text encoder holds one colour, and a toy has several properties. A low rate, so
    # that L_det and the score move smoothly.
    "textual_inversion": Recipe({"batch_size": 8, "learning_rate": 1e-3, "num_vectors": 8}, 1000, 50),
    "p_plus": Recipe({"batch_size": 8, "learning_rate": 1e-3}, 600, 30),
    "dreambooth_lora": Recipe({"batch_size": 8, "learning_rate": 5e-4}, 400, 25),
    "dreambooth": Recipe({"batch_size": 8, "learning_rate": 2e-5}, 400, 25),
    # At 64 px a third of the size leaves nothing to see: no scales.
    "custom_diffusion": Recipe(
        {"batch_size": 8, "learning_rate": 5e-4, "random_scale": False, "prior": PRIOR}, 400, 25
    ),
    "svdiff": Recipe({"batch_size": 8, "learning_rate": 5e-3}, 400, 25),
}
