"""The files of a base model: where they come from, whether they are complete, and their hash; without torch."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import InvalidInput
from trainables.models.embedded import miniature_folder
from trainables.settings import MINIATURE, BaseModelSettings
from trainables.text import first_line
from trainables.types import JsonDict

INDEX = "model_index.json"
_INDEX_ENDING = ".safetensors.index.json"
_ADAPTER = "adapter_config.json"  # transformers applies the adapter that it describes, which may be a pickle
_OF_TRANSFORMERS = ("model.safetensors", "model.safetensors.index.json")
_OF_DIFFUSERS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json")


@dataclass(frozen=True)
class Architecture:
    """What the files of an architecture are, and which module loads them.

    Attributes:
        module: of `trainables.models`; its function `load(folder, settings, device)` returns a `BaseModel`, and
            `load_tokenizer(folder)` what reads its captions.
        components: the folders of a pipeline, in the order in which they are hashed; each with the names that its
            weights may have, of which one must be there, or with none if it has no weights.
    """

    module: str
    components: Mapping[str, Sequence[str]]

    def patterns(self) -> list[str]:
        """Return what to download of a hub repository: no pickle, single-file checkpoint or half-precision copy."""
        patterns = [INDEX]
        for name, weights in self.components.items():
            files = ("config.json", *weights, "*-of-*.safetensors") if weights else ("*",)
            patterns += [f"{name}/{pattern}" for pattern in files]
        return patterns


STABLE_DIFFUSION = Architecture(
    "stable_diffusion",
    {
        "tokenizer": (),
        "text_encoder": _OF_TRANSFORMERS,
        "vae": _OF_DIFFUSERS,
        "unet": _OF_DIFFUSERS,
        "scheduler": (),
    },
)
#: By the name of the pipeline's class in model_index.json; any other pipeline must have Stable Diffusion's components.
ARCHITECTURES: Mapping[str, Architecture] = {"StableDiffusionPipeline": STABLE_DIFFUSION}


def resolve(settings: BaseModelSettings) -> Path:
    """Return the local folder of a base model; a hub id is looked up in the hub's cache, or downloaded.

    `HF_HOME`, `HF_HUB_OFFLINE` and the hub's other variables are honoured.

    Raises:
        InvalidInput: it is neither a complete diffusers folder nor a hub id that can be downloaded.
    """
    if settings.id == MINIATURE:
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
        patterns = sorted({pattern for known in ARCHITECTURES.values() for pattern in known.patterns()})
        return Path(snapshot_download(settings.id, revision=settings.revision, allow_patterns=patterns))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InvalidInput(f"base model {settings.id!r} cannot be downloaded ({error}); {remedy}") from error


def check_folder(folder: Path) -> None:
    """Raise InvalidInput, naming the component, unless `folder` is a complete pipeline with safetensors weights.

    Every file of weights that the loaders would follow an index or a configuration to must be safetensors, too, and lie
    in its component: what lies elsewhere is not part of the fingerprint, and a pickle can run any code.
    """
    for name, weights in architecture(folder).components.items():
        component = folder / name
        if not component.is_dir():
            raise InvalidInput(f"base model {folder} lacks its component {name!r}; copy the whole pipeline")
        if weights:
            if not any((component / file).is_file() for file in weights):
                raise InvalidInput(_no_weights(folder, name, weights))
            _check_references(component)


def architecture(folder: Path) -> Architecture:
    """Return the architecture of a pipeline's folder, by the class that its index names.

    Raises:
        InvalidInput: the folder has no index, or one that is not understood.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return ARCHITECTURES.get(index["_class_name"], STABLE_DIFFUSION)
    except FileNotFoundError as error:
        raise InvalidInput(f"{folder} lacks {INDEX}: it is not a pipeline in diffusers' format") from error
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise InvalidInput(f"{folder / INDEX} names no pipeline's class: copy the whole pipeline") from error


def _check_references(component: Path) -> None:
    """Check every file of weights that a component's own JSON names.

    Raises:
        InvalidInput: a name is no safetensors file of the component, or an adapter lies among the weights.
    """
    if (component / _ADAPTER).exists():
        raise InvalidInput(
            f"base model component {component} holds {_ADAPTER}: the loaders would read another model and an adapter "
            "that may be a pickle; merge the adapter into the weights, and remove that file"
        )
    for index in sorted(component.rglob(f"*{_INDEX_ENDING}")):
        shards = _json_object(index).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise InvalidInput(f"base model index {index} names no weights (weight_map); copy the whole pipeline")
        for shard in sorted({str(name) for name in shards.values()}):
            _check_reference(index, shard, ".safetensors")
    config = component / "config.json"
    named = _json_object(config).get("transformers_weights") if config.is_file() else None
    if named is not None:
        _check_reference(config, str(named), ".safetensors", _INDEX_ENDING)


def _check_reference(source: Path, name: str, *endings: str) -> None:
    if not name.endswith(endings):
        raise InvalidInput(
            f"{source} names {name!r} as weights, but only {' and '.join(endings)} are read, since a pickle can run "
            "any code; convert the model with pipeline.save_pretrained(folder, safe_serialization=True)"
        )
    if name != Path(name).name or "\\" in name:
        raise InvalidInput(f"{source} names {name!r} as weights, which does not lie beside it; copy the file there")
    if not (source.parent / name).is_file():
        raise InvalidInput(f"{source} names {name!r} as weights, which is missing; copy the whole pipeline")


def _json_object(path: Path) -> JsonDict:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} cannot be read ({first_line(error)}); copy the whole pipeline") from error
    if not isinstance(fields, dict):
        raise InvalidInput(f"{path} holds no JSON object; copy the whole pipeline")
    return fields


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
    for name in architecture(folder).components:
        for path in sorted((folder / name).rglob("*")):
            if path.suffix in (".json", ".txt", ".safetensors") and path.is_file():
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:20]
