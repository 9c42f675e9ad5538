"""Writes the networks as a diffusers pipeline in half precision, with CLIP, DINO and a card beside it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trainables.miniature import CARD, models
from trainables.miniature.models import Sizes
from trainables.models.quiet import quiet_libraries
from trainables.tensors import part
from trainables.types import JsonObject

SHARD = "8MB"
TEXT_FILE, VISION_FILE = "model.safetensors", "vision.safetensors"


def text_half(clip: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of CLIP's text encoder, named as in `CLIPTextModel`."""
    return part(clip, "text_model")


def write(
    target: Path, sizes: Sizes, weights: Mapping[str, Mapping[str, Tensor]], factor: float, facts: JsonObject
) -> None:
    """Write trained networks to an empty or new folder.

    The text encoder is stored once: CLIP's index points to the file of the pipeline's text encoder.

    Args:
        target: becomes a diffusers pipeline, with `clip`, `dino` and the card beside its components.
        sizes: of the networks.
        weights: of "vae", "clip", "dino" and "unet".
        factor: by which the VAE's latents are multiplied for the U-Net.
        facts: for the card: where the weights come from.
    """
    tokenizer = models.make_tokenizer()
    networks = {
        "vae": models.make_vae(sizes, factor),
        "unet": models.make_unet(sizes),
        "clip": models.make_clip(sizes, tokenizer),
        "dino": models.make_dino(sizes),
        "text_encoder": models.make_text_encoder(sizes, tokenizer),
    }
    for name, network in networks.items():
        network.load_state_dict(text_half(weights["clip"]) if name == "text_encoder" else weights[name])
    _save(target, tokenizer, networks, facts)


def write_untrained(target: Path, sizes: Sizes, seed: int) -> None:
    """Write networks with random weights from a seed; equal seeds give equal weights."""
    tokenizer = models.make_tokenizer()
    with torch.random.fork_rng(devices=[]):  # the models' constructors know no generator: keep the seed in here
        torch.manual_seed(seed)
        networks = {
            "vae": models.make_vae(sizes),
            "unet": models.make_unet(sizes),
            "clip": models.make_clip(sizes, tokenizer),
            "dino": models.make_dino(sizes),
        }
    networks["text_encoder"] = models.make_text_encoder(sizes, tokenizer)
    networks["text_encoder"].load_state_dict(text_half(networks["clip"].state_dict()))
    _save(target, tokenizer, networks, {"training": None, "seed": seed})


def _save(target: Path, tokenizer: Any, networks: Mapping[str, nn.Module], facts: JsonObject) -> None:
    quiet_libraries()
    from diffusers import StableDiffusionPipeline

    halves = {name: network.half().eval() for name, network in networks.items()}
    pipeline = StableDiffusionPipeline(
        vae=halves["vae"],
        text_encoder=halves["text_encoder"],
        tokenizer=tokenizer,
        unet=halves["unet"],
        scheduler=models.make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(target, safe_serialization=True, max_shard_size=SHARD)
    dino: Any = halves["dino"]
    dino.save_pretrained(target / "dino", safe_serialization=True, max_shard_size=SHARD)
    _save_clip(halves["clip"], tokenizer, target)
    _write_card(target, facts)


def _save_clip(clip: Any, tokenizer: Any, target: Path) -> None:
    folder = target / "clip"
    clip.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    models.make_image_processor().save_pretrained(folder)
    weights = clip.state_dict()
    text = {name: value for name, value in weights.items() if name.startswith("text_model.")}
    own = {name: value for name, value in weights.items() if name not in text}
    save_file(own, folder / VISION_FILE, metadata={"format": "pt"})
    # With CLIP's names for its weights, as in published Stable Diffusions; transformers reads both.
    save_file(text, target / "text_encoder" / TEXT_FILE, metadata={"format": "pt"})
    size = sum(value.numel() * value.element_size() for value in weights.values())
    places = dict.fromkeys(own, VISION_FILE) | dict.fromkeys(text, f"../text_encoder/{TEXT_FILE}")
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / f"{TEXT_FILE}.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def _write_card(target: Path, facts: JsonObject) -> None:
    """Write the card: where the weights come from, and every file's hash."""
    files = sorted(path for path in target.rglob("*") if path.is_file() and path.name != CARD)
    hashes = {path.relative_to(target).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    card = {**facts, "bytes": sum(path.stat().st_size for path in files), "sha256": hashes}
    (target / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
