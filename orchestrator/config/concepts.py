"""Reads an experiment's concepts: those of the miniature are rendered, others are folders of images."""

from pathlib import Path

from orchestrator.config.experiment import ALL, Experiment
from orchestrator.config.split import check_names, pick
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

        names = tuple(ENTRIES) if only == [ALL] else only
        return toys.load(FEW if names is None else check_names(names, tuple(ENTRIES)))
    concepts = load_concepts(Path(experiment.concepts.source).expanduser())
    return concepts if only is None else pick(concepts, only)
