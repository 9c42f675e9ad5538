"""The names, class nouns and roles of the miniature's concepts; imports no torch, because nothing is rendered here."""

from dataclasses import dataclass
from typing import Literal

from trainables.errors import InvalidInput
from trainables.miniature.world.nouns import NOUNS
from trainables.text import did_you_mean

Role = Literal["tuning", "test"]


@dataclass(frozen=True)
class Entry:
    """A concept that is not rendered yet: its name, its class noun, and whether it is for tuning or for testing."""

    name: str
    noun: str
    role: Role


def _entries() -> dict[str, Entry]:
    # Classes take turns: each has at least three concepts, and the tuning concepts are of eight different classes.
    nouns = [NOUNS[index % len(NOUNS)] for index in range(56)]
    rows = [(f"{noun}_{index // len(NOUNS) + 1}", noun, index) for index, noun in enumerate(nouns)]
    tuning = {name for name, _, index in rows if index >= 48}
    return {name: Entry(name, noun, "tuning" if name in tuning else "test") for name, noun, _ in rows}


#: All 56 concepts by name: 48 to test on, 8 to tune on.
ENTRIES = _entries()
TUNING = tuple(entry.name for entry in ENTRIES.values() if entry.role == "tuning")
TEST = tuple(entry.name for entry in ENTRIES.values() if entry.role == "test")

#: A few for a demonstration, three of each role.
FEW = ("car_1", "cat_3", "mug_1", "rabbit_3", "robot_1", "teapot_3")


def entry(name: str) -> Entry:
    """Return the entry of a concept's name.

    Raises:
        InvalidInput: the name is unknown; the message suggests what to do.
    """
    if name not in ENTRIES:
        raise InvalidInput(f"the miniature has no concept {name!r}; {did_you_mean(name, ENTRIES)}")
    return ENTRIES[name]
