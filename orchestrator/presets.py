"""The presets: one typed function each, from which an experiment starts."""

from collections.abc import Callable
from difflib import get_close_matches

from orchestrator.experiment import ConceptSettings, Experiment, MethodSettings, Resources
from trainables.errors import InvalidInput
from trainables.miniature import NUM_VECTORS
from trainables.settings import BaseModelSettings, QualitySettings


def miniature() -> Experiment:
    """The embedded small Stable Diffusion on rendered toys: two CPU cores, a few minutes, nothing to download."""
    return Experiment(
        name="miniature",
        preset="miniature",
        # A higher rate than `python -m trainables.miniature.evaluate` takes: it learns in fewer steps, less smoothly.
        method=MethodSettings(settings={"batch_size": 4, "learning_rate": 2e-3, "num_vectors": NUM_VECTORS}),
        budget=160,
        quality=QualitySettings(every=20, samples=4, inference_steps=8, guidance_scale=3.0),
        resources=Resources(checkpoint_seconds=5),
    )


def sd15() -> Experiment:
    """Stable Diffusion 1.5 at 512 px with Textual Inversion as the paper runs it; one GPU a concept."""
    return Experiment(
        name="sd15-textual-inversion",
        preset="sd15",
        base_model=BaseModelSettings(
            id="stable-diffusion-v1-5/stable-diffusion-v1-5", resolution=512, dtype="bfloat16"
        ),
        budget=6100,
        quality=QualitySettings(every=500, scorer="openai/clip-vit-base-patch32"),
        concepts=ConceptSettings(source="concepts"),
        resources=Resources(cpus_per_trial=2, gpus_per_trial=1, max_failures=3),
    )


PRESETS: dict[str, Callable[[], Experiment]] = {function.__name__: function for function in (miniature, sd15)}


def load(name: str) -> Experiment:
    """Return a preset's experiment.

    Raises:
        InvalidInput: there is no such preset.
    """
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1)
        hint = f". Did you mean {near[0]!r}?" if near else ""
        raise InvalidInput(f"unknown preset {name!r}; available: {', '.join(PRESETS)}{hint}")
    return PRESETS[name]()
