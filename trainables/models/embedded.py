"""The weights of the miniature, which come with the package; without torch."""

import functools
import hashlib
import json
from pathlib import Path

from trainables.errors import InvalidInput

CARD = "card.json"
REMEDY = "install dvar-tune again, or check the file out again"
WEIGHTS = Path(__file__).parents[1] / "miniature" / "weights"


def miniature_folder() -> Path:
    """Return the folder of the miniature: a diffusers pipeline with `clip` and `dino` beside its components.

    The weights come with the package. Their hashes are checked once per process.

    Raises:
        InvalidInput: a file of the weights is missing or damaged.
    """
    check(WEIGHTS)
    return WEIGHTS


@functools.cache
def check(folder: Path) -> None:
    """Compare every file in a folder of weights with the hash on its card.

    Args:
        folder: weights as the pretraining exports them; a folder that passed is not checked again.

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
