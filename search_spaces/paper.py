"""What the paper published for Stable Diffusion 1.5, method by method (sections 3.3, 4.2): where searches begin."""

from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces.defaults import MethodDefaults


@dataclass(frozen=True)
class Published:
    """The paper's settings for a method.

    Attributes:
        dvar: DVAR's N and alpha, and the optimizer steps of the original training.
        patience: of CLIP-s, for a snapshot every 50 steps.
        min_improvement: of CLIP-s.
        mean_steps: steps that CLIP-s needed on the paper's concepts on average, "few iterations".
    """

    dvar: MethodDefaults
    patience: int
    min_improvement: float
    mean_steps: int


PAPER: Mapping[str, Published] = {
    "textual_inversion": Published(MethodDefaults(6100, 310, 0.15), 6, 0.02, 475),
    "dreambooth_lora": Published(MethodDefaults(1000, 440, 0.40), 3, 0.04, 367),
    "custom_diffusion": Published(MethodDefaults(500, 180, 0.15), 6, 0.02, 450),
}


def published(method: str) -> Published:
    """Return the paper's settings for a method; for a method that the paper lacks, Textual Inversion's."""
    return PAPER.get(method, PAPER["textual_inversion"])


def dvar_defaults(method: str, defaults: MethodDefaults | None) -> MethodDefaults:
    """Return DVAR's default setting for a method: the paper's, else the method's own, else Textual Inversion's.

    Args:
        method: a personalization method's name.
        defaults: what a method that the paper lacks states itself; None where it states nothing.
    """
    if method not in PAPER and defaults is not None:
        return defaults
    return published(method).dvar
