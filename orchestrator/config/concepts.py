"""Reads an experiment's concepts: those of the miniature are rendered, others are folders of images."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.config.experiment import ALL, Experiment
from orchestrator.config.split import check_names, pick, tuning_names
from trainables.data.concept import Concept, load_concepts
from trainables.miniature.entries import ENTRIES, FEW
from trainables.settings import MINIATURE


def read_concepts(experiment: Experiment) -> list[Concept]:
    """Read the concepts that an experiment names, sorted by name.

    Raises:
        InvalidInput: a concept is missing or unusable.
    """
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
