"""The paper's settings for each method on Stable Diffusion 1.5 (sections 3.3 and 4.2), from which searches begin."""

from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces.defaults import MethodDefaults


@dataclass(frozen=True)
class Published:
    """The paper's settings for a method.

    Attributes:
        budget: optimizer steps of the original training.
        window, threshold: DVAR's N and alpha.
        patience, min_improvement: of CLIP-s, with a snapshot every 50 steps.
        mean_steps, max_steps: steps that CLIP-s needed on the paper's concepts, mean and maximum ("few iterations").
    """

    budget: int
    window: int
    threshold: float
    patience: int
    min_improvement: float
    mean_steps: int
    max_steps: int


PAPER: Mapping[str, Published] = {
    "textual_inversion": Published(6100, 310, 0.15, 6, 0.02, 475, 850),
    "dreambooth_lora": Published(1000, 440, 0.40, 3, 0.04, 367, 500),
    "custom_diffusion": Published(500, 180, 0.15, 6, 0.02, 450, 700),
}


def published(method: str) -> Published:
    """Return the paper's settings for a method, or its settings for Textual Inversion if it lacks the method."""
    return PAPER.get(method, PAPER["textual_inversion"])


def method_defaults(method: str, defaults: MethodDefaults | None) -> MethodDefaults:
    """Return where the search of DVAR begins: at the paper's setting for the method, else at the method's own.

    Args:
        method: name of a personalization method.
        defaults: the method's own; None takes the paper's for Textual Inversion.
    """
    if method not in PAPER and defaults:
        return defaults
    paper = published(method)
    return MethodDefaults(paper.budget, paper.window, paper.threshold)
