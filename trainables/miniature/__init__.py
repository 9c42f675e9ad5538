"""The embedded default: a small Stable Diffusion and the world of rendered toys that it is about."""

import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

SEED = 0
FORMAT = 1  # raise it when the builder changes, so that a cached folder of an older one is not taken for it


def cache_folder() -> Path:
    """Return where built models are kept: `$DVAR_CACHE`, `$XDG_CACHE_HOME/dvar-tune` or `~/.cache/dvar-tune`."""
    own = os.environ.get("DVAR_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "dvar-tune"


def miniature_folder() -> Path:
    """Return the folder of the miniature, building it first where it is not cached yet."""
    folder = cache_folder() / f"miniature-{FORMAT}-seed{SEED}-torch{version('torch')}"
    if not (folder / "model_index.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
        from trainables.miniature.models import build

        build(building, SEED)
        _publish(building, folder)
    return folder


def _publish(building: Path, folder: Path) -> None:
    try:
        building.rename(folder)
    except OSError:  # another process was faster: its folder holds the same
        shutil.rmtree(building)
        if not (folder / "model_index.json").exists():
            raise
