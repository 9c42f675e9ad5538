"""Recipes: the settings with which each method learns a concept of the miniature; imports no torch.

The methods' defaults are for Stable Diffusion 1.5. The miniature has a hundredth of its weights, and its concepts
differ from their class only in colours and proportions, so it needs other rates and budgets.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How a method learns a concept of the miniature.

    Attributes:
        settings: keyword arguments of the method's class.
        budget: optimizer steps, enough that the last of them gain little.
        every: steps between snapshots of quality.
    """

    settings: Mapping[str, object]
    budget: int
    every: int


#: Class images for prior preservation, which the miniature draws in seconds.
PRIOR = {"images": 64, "inference_steps": 10, "guidance_scale": 3.0}

RECIPES: Mapping[str, Recipe] = {
    # Eight vectors, because a vector of this small text encoder holds a single colour and a toy has several properties.
    # A low rate, so that L_det and the score move smoothly.
    "textual_inversion": Recipe({"batch_size": 8, "learning_rate": 1e-3, "num_vectors": 8}, 1000, 50),
    "p_plus": Recipe({"batch_size": 8, "learning_rate": 1e-3}, 600, 30),
    "dreambooth_lora": Recipe({"batch_size": 8, "learning_rate": 5e-4}, 400, 25),
    "dreambooth": Recipe({"batch_size": 8, "learning_rate": 2e-5}, 400, 25),
    # No random scales: at a third of 64 px, a toy is too small to see.
    "custom_diffusion": Recipe(
        {"batch_size": 8, "learning_rate": 5e-4, "random_scale": False, "prior": PRIOR}, 400, 25
    ),
    "svdiff": Recipe({"batch_size": 8, "learning_rate": 5e-3}, 400, 25),
}
