"""Which concepts tune and which test."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.config.experiment import Experiment
from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.miniature.entries import TUNING
from trainables.settings import MINIATURE
from trainables.text import did_you_mean

#: Unless told otherwise, half of the concepts tune, but at most as many as in the paper.
MOST_TUNING = 4


@dataclass(frozen=True)
class Split:
    """The concepts on which a setting is chosen, and those on which it is proved."""

    tuning: tuple[Concept, ...]
    test: tuple[Concept, ...]

    @property
    def all(self) -> tuple[Concept, ...]:
        """Every concept once, by name."""
        return tuple(sorted(dict.fromkeys(self.tuning + self.test), key=lambda concept: concept.name))

    @property
    def is_shared(self) -> bool:
        """Whether the same concepts tune and test, so that the test proves nothing new."""
        return self.tuning == self.test


def split_concepts(experiment: Experiment, concepts: Sequence[Concept]) -> Split:
    """Divide concepts into those that tune and those that test; see `ConceptSettings.tuning`.

    A single concept serves both.

    Raises:
        InvalidInput: a name is unknown, or too few concepts are left.
    """
    choice = experiment.concepts.tuning
    names = [concept.name for concept in concepts]
    meant = meant_for_tuning(names) if choice is None and experiment.concepts.source == MINIATURE else []
    if isinstance(choice, list):
        tuning = pick(concepts, choice)
    elif meant and len(meant) < len(concepts):
        tuning = [concept for concept in concepts if concept.name in meant]
    else:
        count = min(MOST_TUNING, max(1, len(concepts) // 2)) if choice is None else choice
        chosen = choose_tuning(names, count, experiment.seed)
        tuning = [concept for concept in concepts if concept.name in chosen]
    test = [concept for concept in concepts if concept not in tuning]
    return Split(tuple(tuning), tuple(test or tuning))


def meant_for_tuning(names: Sequence[str]) -> list[str]:
    """Return those of some concepts that the miniature sets aside for tuning."""
    return [name for name in names if name in TUNING]


def choose_tuning(names: Sequence[str], count: int, seed: int) -> list[str]:
    """Choose so many of some concepts, in an order that depends on names and seed alone: a further one moves none.

    Raises:
        InvalidInput: there are fewer, or none is asked for.
    """
    if not 1 <= count <= len(names):
        raise InvalidInput(f"concepts.tuning must lie between 1 and {len(names)} concepts, got {count}")
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())[:count]


def pick(concepts: Sequence[Concept], names: Sequence[str]) -> list[Concept]:
    """Return the concepts with some names, sorted by name.

    Raises:
        InvalidInput: a name is unknown, or none is given.
    """
    by_name = {concept.name: concept for concept in concepts}
    return [by_name[name] for name in check_names(names, tuple(by_name))]


def check_names(names: Sequence[str], choices: Sequence[str]) -> list[str]:
    """Return the names, sorted and once each.

    Raises:
        InvalidInput: a name is no choice, or none is given.
    """
    for name in names:
        if name not in choices:
            raise InvalidInput(f"unknown concept {name!r}; {did_you_mean(name, choices)}")
    if not names:
        raise InvalidInput(f"no concept is named; available: {', '.join(choices)}")
    return sorted(set(names))
