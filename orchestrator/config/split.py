"""Divides concepts into those on which a setting is tuned and those on which it is tested."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.config.experiment import Experiment
from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.miniature.entries import TUNING
from trainables.settings import MINIATURE
from trainables.text import did_you_mean

#: By default half of the concepts tune, but at most as many as in the paper.
MOST_TUNING = 4


@dataclass(frozen=True)
class Split:
    """The concepts on which a setting is tuned, and those on which it is tested."""

    tuning: tuple[Concept, ...]
    test: tuple[Concept, ...]

    @property
    def all(self) -> tuple[Concept, ...]:
        """The concepts of both sides, without repeats, sorted by name."""
        return tuple(sorted(dict.fromkeys(self.tuning + self.test), key=lambda concept: concept.name))

    @property
    def is_shared(self) -> bool:
        """Whether the same concepts tune and test; the test then says nothing about other concepts."""
        return self.tuning == self.test


def split_concepts(experiment: Experiment, concepts: Sequence[Concept]) -> Split:
    """Divide concepts into tuning and test concepts; see `ConceptSettings.tuning`.

    If every concept is chosen for tuning, as a single concept always is, the same concepts also test.

    Raises:
        InvalidInput: a name is unknown, or there are fewer concepts than asked for.
    """
    chosen = tuning_names(experiment, [concept.name for concept in concepts])
    tuning = [concept for concept in concepts if concept.name in chosen]
    test = [concept for concept in concepts if concept not in tuning]
    return Split(tuple(tuning), tuple(test or tuning))


def tuning_names(experiment: Experiment, names: Sequence[str]) -> list[str]:
    """Return which of the names of concepts, sorted, are those that tune; see `split_concepts`.

    Raises:
        InvalidInput: a name is unknown, or there are fewer concepts than asked for.
    """
    choice = experiment.concepts.tuning
    if isinstance(choice, list):
        return check_names(choice, names)
    meant = meant_for_tuning(names) if choice is None and experiment.concepts.source == MINIATURE else []
    if meant and len(meant) < len(names):
        return meant
    count = min(MOST_TUNING, max(1, len(names) // 2)) if choice is None else choice
    return choose_tuning(names, count, experiment.seed)


def meant_for_tuning(names: Sequence[str]) -> list[str]:
    """Return the names that the miniature sets aside for tuning, in the given order."""
    return [name for name in names if name in TUNING]


def choose_tuning(names: Sequence[str], count: int, seed: int) -> list[str]:
    """Choose `count` concepts by an order that depends only on names and seed; a further concept moves no other.

    Raises:
        InvalidInput: the count is below 1 or above the number of concepts.
    """
    if not 1 <= count <= len(names):
        raise InvalidInput(f"concepts.tuning must lie between 1 and {len(names)} concepts, got {count}")
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())[:count]


def pick(concepts: Sequence[Concept], names: Sequence[str]) -> list[Concept]:
    """Return the concepts with the given names, sorted by name.

    Raises:
        InvalidInput: a name is unknown, or none is given.
    """
    by_name = {concept.name: concept for concept in concepts}
    return [by_name[name] for name in check_names(names, tuple(by_name))]


def check_names(names: Sequence[str], choices: Sequence[str]) -> list[str]:
    """Return the names of concepts, sorted and without repeats.

    Raises:
        InvalidInput: a name is not among the choices, or none is given.
    """
    for name in names:
        if name not in choices:
            raise InvalidInput(f"unknown concept {name!r}; {did_you_mean(name, choices)}")
    if not names:
        raise InvalidInput(f"no concept is named; available: {', '.join(choices)}")
    return sorted(set(names))
