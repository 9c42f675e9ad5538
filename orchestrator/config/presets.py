"""The presets, from which an experiment starts: a typed function per preset, with values that suit the method."""

from collections.abc import Callable

from orchestrator import plugins
from orchestrator.config.experiment import (
    ALL,
    TEXTUAL_INVERSION,
    ConceptSettings,
    Experiment,
    MethodSettings,
    Resources,
)
from search_spaces.paper import PAPER
from trainables.errors import InvalidInput
from trainables.miniature.recipes import RECIPES, Recipe
from trainables.settings import BaseModelSettings, QualitySettings, StratifiedBatchSettings
from trainables.text import did_you_mean

#: For Textual Inversion in a demonstration: a higher learning rate than in its recipe learns faster, but less smoothly.
DEMO = Recipe({"batch_size": 4, "learning_rate": 2e-3, "num_vectors": 8}, 120, 15)
#: For a method without a recipe for the miniature.
UNKNOWN = Recipe({}, 400, 20)
#: How often the last snapshot is scored again, to tell how much of a difference between scores is chance.
REPEATS = 4
#: The stratified batch of a demonstration, small and rarely evaluated: 8 inputs at every step would take as long as a
#: training step, these take a twentieth of it.
DEMO_BATCH = StratifiedBatchSettings(size=4, every=5)


def miniature(method: str = TEXTUAL_INVERSION, recipe: str | None = None) -> Experiment:
    """Return the preset for the embedded small Stable Diffusion on rendered toys.

    It runs on two CPU cores in a few minutes, and downloads nothing.

    Args:
        method: name of the personalization method.
        recipe: a named recipe of the method; None takes settings that suit the miniature.
    """
    suited = DEMO if method == TEXTUAL_INVERSION else RECIPES.get(method, UNKNOWN)
    return Experiment(
        name=_name("miniature", method),
        preset="miniature",
        # A recipe that the user names applies unchanged.
        method=MethodSettings(name=method, recipe=recipe, settings={} if recipe else dict(suited.settings)),
        budget=suited.budget,
        stratified_batch=DEMO_BATCH,
        quality=QualitySettings(every=suited.every, samples=4, inference_steps=8, guidance_scale=3.0),
        resources=Resources(checkpoint_seconds=5),
    )


def benchmark(method: str = TEXTUAL_INVERSION, recipe: str | None = None) -> Experiment:
    """Return the preset with which the shipped recordings were made, and beside what they hold the stratified batch.

    It takes some hours; the shipped recordings lack the stratified batch, and the repeated scores.

    It trains all concepts of the miniature for the method's full budget; arguments as in `miniature`.
    """
    suited = RECIPES.get(method, UNKNOWN)
    experiment = miniature(method, recipe)
    return experiment.model_copy(
        update={
            "name": _name("benchmark", method),
            "preset": "benchmark",
            "method": MethodSettings(name=method, recipe=recipe, settings={} if recipe else dict(suited.settings)),
            "concepts": ConceptSettings(only=[ALL]),
            "budget": suited.budget,
            "stratified_batch": StratifiedBatchSettings(),
            "quality": QualitySettings(
                every=suited.every, samples=8, inference_steps=10, guidance_scale=3.0, repeats=REPEATS
            ),
        }
    )


def sd15(method: str = TEXTUAL_INVERSION, recipe: str | None = None) -> Experiment:
    """Return the preset for Stable Diffusion 1.5 at 512 px with a method as the paper runs it; one GPU per concept.

    Args:
        method: name of the personalization method.
        recipe: a named recipe of the method; None takes its defaults.

    Raises:
        InvalidInput: the method cannot be loaded.
    """
    budget = _default_budget(method)
    is_inversion = method == TEXTUAL_INVERSION
    return Experiment(
        name=_name("sd15", method),
        preset="sd15",
        base_model=BaseModelSettings(
            id="stable-diffusion-v1-5/stable-diffusion-v1-5", resolution=512, dtype="bfloat16"
        ),
        method=MethodSettings(name=method, recipe=recipe),
        budget=budget,
        quality=QualitySettings(
            every=500 if is_inversion else min(100, budget),
            guidance_scale=7.5 if is_inversion else 6.0,
            scorer="openai/clip-vit-base-patch32",
            repeats=REPEATS,
        ),
        stratified_batch=StratifiedBatchSettings(),
        concepts=ConceptSettings(source="concepts"),
        resources=Resources(cpus_per_trial=2, gpus_per_trial=1, max_failures=3),
    )


def _name(preset: str, method: str) -> str:
    return f"{preset}-{method.replace('_', '-')}"


def _default_budget(method: str) -> int:
    if method in PAPER:
        return PAPER[method].dvar.budget
    from trainables.methods.base import Method  # it brings torch, which the paper's methods do without here

    kind: type[Method] = plugins.METHODS.load(method, Method)
    return kind.budget


PRESETS: dict[str, Callable[[str, str | None], Experiment]] = {
    "miniature": miniature,
    "benchmark": benchmark,
    "sd15": sd15,
}


def load(name: str, method: str = TEXTUAL_INVERSION, recipe: str | None = None) -> Experiment:
    """Return the experiment of a preset.

    Args:
        name: of the preset.
        method: name of the personalization method, which determines settings, budget and snapshots.
        recipe: a named recipe of the method; it replaces the preset's own settings of the method.

    Raises:
        InvalidInput: there is no such preset, or the method cannot be loaded.
    """
    if name not in PRESETS:
        raise InvalidInput(f"unknown preset {name!r}; {did_you_mean(name, PRESETS)}")
    return PRESETS[name](method, recipe)
