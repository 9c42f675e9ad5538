"""The embedded default: a small Stable Diffusion and the world of rendered toys that it is about."""

import functools
import hashlib
import json
from pathlib import Path

from trainables.errors import InvalidInput

CARD = "card.json"
REMEDY = "install dvar-tune again, or check the file out again"
WEIGHTS = Path(__file__).parent / "weights"


def miniature_folder() -> Path:
    """Return the folder of the miniature: a diffusers pipeline with `clip` and `dino` beside its components.

    The weights come with the package, and their hashes are checked once a process.

    Raises:
        InvalidInput: a file of the weights is missing or damaged.
    """
    check(WEIGHTS)
    return WEIGHTS


@functools.cache
def check(folder: Path) -> None:
    """Compare every file of a folder of weights with the hashes in its card.

    Raises:
        InvalidInput: a file is missing or damaged; the message names it.
    """
    card = folder / CARD
    if not card.is_file():
        raise InvalidInput(f"the miniature lacks {card}; {REMEDY}")
    for name, expected in json.loads(card.read_text(encoding="utf-8"))["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise InvalidInput(f"the miniature lacks {path}; {REMEDY}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise InvalidInput(f"the miniature's file {path} is damaged; {REMEDY}")
