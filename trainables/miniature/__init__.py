"""The embedded default: a small Stable Diffusion and the world of rendered toys that it is about."""

import functools
import hashlib
import json
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

from trainables.errors import InvalidInput

SEED = 0
CARD = "card.json"
FORMAT = 2  # raise it when the builder changes, so that a cached folder of an older one is not taken for it
WEIGHTS = Path(__file__).parent / "weights"


def cache_folder() -> Path:
    """Return where built models are kept: `$DVAR_CACHE`, `$XDG_CACHE_HOME/dvar-tune` or `~/.cache/dvar-tune`."""
    own = os.environ.get("DVAR_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "dvar-tune"


def miniature_folder() -> Path:
    """Return the folder of the miniature: a diffusers pipeline with `clip` and `dino` beside its components.

    The trained weights come with the package, and their hashes are checked once a process. A checkout without them
    gets networks with random weights, built once into the cache.

    Raises:
        InvalidInput: a file of the weights is missing or damaged.
    """
    if is_trained():
        check(WEIGHTS)
        return WEIGHTS
    folder = cache_folder() / f"miniature-{FORMAT}-seed{SEED}-torch{version('torch')}"
    if not (folder / CARD).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
        from trainables.miniature.models import TINY
        from trainables.miniature.pretraining.export import write_untrained

        write_untrained(building, TINY, SEED)
        _publish(building, folder)
    return folder


def is_trained() -> bool:
    """Return whether the weights are there that were trained, rather than random ones."""
    return (WEIGHTS / CARD).is_file()


def _publish(building: Path, folder: Path) -> None:
    try:
        building.rename(folder)
    except OSError:  # another process was faster: its folder holds the same
        shutil.rmtree(building)
        if not (folder / CARD).exists():
            raise


@functools.cache
def check(folder: Path) -> None:
    """Compare every file of a folder of weights with the hashes in its card.

    Raises:
        InvalidInput: a file is missing or damaged; the message names it.
    """
    for name, expected in json.loads((folder / CARD).read_text(encoding="utf-8"))["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise InvalidInput(f"the miniature lacks {path}; install dvar-tune again")
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise InvalidInput(f"the miniature's file {path} is damaged; install dvar-tune again")
