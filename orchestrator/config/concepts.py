"""Reads an experiment's concepts: those of the miniature are rendered, others are folders of images."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.config.experiment import ALL, Experiment
from orchestrator.config.split import check_names, pick, tuning_names
from trainables.data.concept import Concept, load_concept, load_concepts
from trainables.data.concept_image import ConceptImage
from trainables.errors import InvalidInput
from trainables.miniature.entries import ENTRIES, FEW
from trainables.settings import MINIATURE, HeldOutSettings
from trainables.text import composed


def read_concepts(experiment: Experiment) -> list[Concept]:
    """Read the concepts that an experiment names, sorted by name, with the images that are held out set aside.

    Raises:
        InvalidInput: a concept is missing or unusable, or no image of it can be spared.
    """
    concepts = _whole(experiment)
    return concepts if experiment.held_out is None else _held_out(concepts, experiment.held_out)


def _held_out(concepts: Sequence[Concept], settings: HeldOutSettings) -> list[Concept]:
    """Set images aside in every concept; all problems are listed at once."""
    found, problems = [], []
    for concept in concepts:
        try:
            views = _views(concept, Path(settings.source).expanduser()) if settings.source else ()
            found.append(concept.holding_out(settings.images, views))
        except InvalidInput as error:
            problems.append(str(error))
    if problems:
        raise InvalidInput("\n".join(problems))
    return found


def _views(concept: Concept, source: Path) -> tuple[ConceptImage, ...]:
    """Return the further views of a concept."""
    try:
        folder = next((path for path in source.iterdir() if composed(path.name) == concept.name), None)
    except OSError as error:
        raise InvalidInput(f"held_out.source {source} cannot be read ({error.strerror}); name a folder") from error
    if folder is None:
        raise InvalidInput(
            f"held_out.source has no views of concept {concept.name!r}: put at least one image into "
            f"{source / concept.name}"
        )
    return load_concept(folder).images


def _whole(experiment: Experiment) -> list[Concept]:
    only = experiment.concepts.only
    if experiment.concepts.source == MINIATURE:
        from trainables.miniature import concepts as toys  # renders with torch

        return toys.load(miniature_names(experiment))
    concepts = load_concepts(Path(experiment.concepts.source).expanduser())
    return concepts if only is None else pick(concepts, only)


def check_concepts(experiment: Experiment) -> None:
    """Check the names of concepts of the miniature and the choice of those that tune; others need their folders.

    Raises:
        InvalidInput: a name is unknown, or more concepts shall tune than there are.
    """
    if experiment.concepts.source == MINIATURE:
        tuning_names(experiment, sorted(miniature_names(experiment)))


def miniature_names(experiment: Experiment) -> Sequence[str]:
    """Return the names of the miniature's concepts that an experiment uses.

    Raises:
        InvalidInput: a name is unknown.
    """
    only = experiment.concepts.only
    if only is None:
        return FEW
    return tuple(ENTRIES) if only == [ALL] else check_names(only, tuple(ENTRIES))
