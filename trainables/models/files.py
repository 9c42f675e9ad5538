"""The files of a base model: where they come from, whether they are complete, and their hash; without torch."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from trainables.errors import InvalidInput
from trainables.settings import MINIATURE, BaseModelSettings

COMPONENTS = {
    "tokenizer": (),
    "text_encoder": ("model.safetensors", "model.safetensors.index.json"),
    "vae": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json"),
    "unet": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json"),
    "scheduler": (),
}
# What is downloaded of a hub repository: not its single-file checkpoints, pickles or half-precision duplicates.
DOWNLOADED = [
    "model_index.json",
    "tokenizer/*",
    "scheduler/*",
    *(f"{name}/config.json" for name in ("text_encoder", "vae", "unet")),
    *(f"{name}/{pattern}" for name, files in COMPONENTS.items() for pattern in files),
    *(f"{name}/*-of-*.safetensors" for name in ("text_encoder", "vae", "unet")),
]


def resolve(settings: BaseModelSettings) -> Path:
    """Return the local folder of a base model; a hub id is looked up in the hub's cache, or downloaded.

    `HF_HOME`, `HF_HUB_OFFLINE` and the hub's other variables are honoured.

    Raises:
        InvalidInput: it is neither a complete diffusers folder nor a hub id that can be downloaded.
    """
    if settings.id == MINIATURE:
        from trainables.miniature import miniature_folder

        return miniature_folder()
    folder = Path(settings.id).expanduser()
    if not folder.is_dir():
        folder = _download(settings)
    check_folder(folder)
    return folder


def commit(folder: Path) -> str | None:
    """Return the commit of a folder in the hub's cache, whatever branch or tag was given; None for other folders."""
    return folder.name if folder.parent.name == "snapshots" else None


def _download(settings: BaseModelSettings) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    remedy = "give a folder in diffusers' format, a hub id, or 'miniature'"
    if settings.id.startswith((".", "/", "~")) or settings.id.count("/") > 1:
        raise InvalidInput(f"base model folder {settings.id} does not exist; {remedy}")
    try:
        return Path(snapshot_download(settings.id, revision=settings.revision, allow_patterns=DOWNLOADED))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InvalidInput(f"base model {settings.id!r} cannot be downloaded ({error}); {remedy}") from error


def check_folder(folder: Path) -> None:
    """Raise InvalidInput, naming the component, unless `folder` is a complete pipeline with safetensors weights."""
    if not (folder / "model_index.json").is_file():
        raise InvalidInput(f"{folder} lacks model_index.json: it is not a pipeline in diffusers' format")
    for name, weights in COMPONENTS.items():
        component = folder / name
        if not component.is_dir():
            raise InvalidInput(f"base model {folder} lacks its component {name!r}; copy the whole pipeline")
        if weights and not any((component / file).is_file() for file in weights):
            raise InvalidInput(_no_weights(folder, name, weights))


def _no_weights(folder: Path, name: str, weights: Sequence[str]) -> str:
    pickles = sorted(path.name for path in (folder / name).iterdir() if path.suffix in (".bin", ".pt", ".ckpt"))
    if pickles:
        return (
            f"base model {folder} has the weights of {name!r} only as pickle ({pickles[0]}), which is never read since "
            "a pickle can run any code; convert it with pipeline.save_pretrained(folder, safe_serialization=True)"
        )
    return f"base model {folder} lacks {name}/{weights[0]}; copy the whole pipeline"


def fingerprint(folder: Path) -> str:
    """Hash the weights and settings of a pipeline's components, not the folder's name: 20 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in COMPONENTS:
        for path in sorted((folder / name).rglob("*")):
            if path.suffix in (".json", ".txt", ".safetensors"):
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:20]
