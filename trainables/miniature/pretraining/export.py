"""Exports the networks in half precision: a diffusers pipeline with CLIP, DINO and a card beside its components."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from trainables.miniature import models
from trainables.miniature.models import Sizes
from trainables.models.embedded import CARD
from trainables.models.quiet import quiet_libraries
from trainables.tensors import part

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer, ViTModel

SHARD = "8MB"
TEXT_FILE, VISION_FILE = "model.safetensors", "vision.safetensors"


@dataclass(frozen=True)
class _Networks:
    vae: "AutoencoderKL"
    unet: "UNet2DConditionModel"
    clip: "CLIPModel"
    dino: "ViTModel"
    text_encoder: "CLIPTextModel"


def text_half(clip: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of CLIP's text encoder, named as in `CLIPTextModel`."""
    return part(clip, "text_model")


def write(
    target: Path, sizes: Sizes, weights: Mapping[str, Mapping[str, Tensor]], factor: float, facts: Mapping[str, object]
) -> None:
    """Write trained networks to an empty or new folder.

    The text encoder is stored once: CLIP's index refers to the file of the pipeline's text encoder.

    Args:
        target: becomes a diffusers pipeline, with `clip`, `dino` and the card beside its components.
        sizes: of the networks.
        weights: state of "vae", "clip", "dino" and "unet".
        factor: factor of the VAE's latents before they enter the U-Net.
        facts: where the weights come from, for the card.
    """
    tokenizer = models.make_tokenizer()
    networks = _Networks(
        vae=models.make_vae(sizes, factor),
        unet=models.make_unet(sizes),
        clip=models.make_clip(sizes, tokenizer),
        dino=models.make_dino(sizes),
        text_encoder=models.make_text_encoder(sizes, tokenizer),
    )
    networks.vae.load_state_dict(weights["vae"])
    networks.unet.load_state_dict(weights["unet"])
    networks.clip.load_state_dict(weights["clip"])
    networks.dino.load_state_dict(weights["dino"])
    networks.text_encoder.load_state_dict(text_half(weights["clip"]))
    _save(target, tokenizer, networks, facts)


def write_untrained(target: Path, sizes: Sizes, seed: int) -> None:
    """Write networks with random weights to an empty or new folder; equal seeds give equal weights.

    Args:
        target: laid out as by `write`.
        sizes: of the networks.
        seed: of the weights; the ambient random state stays as it was.
    """
    tokenizer = models.make_tokenizer()
    with torch.random.fork_rng(devices=[]):  # the models' constructors take no generator, so the seed is set here
        torch.manual_seed(seed)
        networks = _Networks(
            vae=models.make_vae(sizes),
            unet=models.make_unet(sizes),
            clip=models.make_clip(sizes, tokenizer),
            dino=models.make_dino(sizes),
            text_encoder=models.make_text_encoder(sizes, tokenizer),
        )
    networks.text_encoder.load_state_dict(text_half(networks.clip.state_dict()))
    _save(target, tokenizer, networks, {"training": None, "seed": seed})


def _save(target: Path, tokenizer: "CLIPTokenizer", networks: _Networks, facts: Mapping[str, object]) -> None:
    quiet_libraries()
    from diffusers import StableDiffusionPipeline

    halves = _Networks(*(network.half().eval() for network in vars(networks).values()))
    pipeline = StableDiffusionPipeline(
        vae=halves.vae,
        text_encoder=halves.text_encoder,
        tokenizer=tokenizer,
        unet=halves.unet,
        scheduler=models.make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(target, safe_serialization=True, max_shard_size=SHARD)
    halves.dino.save_pretrained(target / "dino", safe_serialization=True, max_shard_size=SHARD)
    _save_clip(halves.clip, tokenizer, target)
    _write_card(target, facts)


def _save_clip(clip: "CLIPModel", tokenizer: "CLIPTokenizer", target: Path) -> None:
    folder = target / "clip"
    clip.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    models.make_image_processor().save_pretrained(folder)
    weights = clip.state_dict()
    text = {name: value for name, value in weights.items() if name.startswith("text_model.")}
    own = {name: value for name, value in weights.items() if name not in text}
    save_file(own, folder / VISION_FILE, metadata={"format": "pt"})
    # Weights keep CLIP's names, as in published Stable Diffusions; transformers reads both kinds.
    save_file(text, target / "text_encoder" / TEXT_FILE, metadata={"format": "pt"})
    size = sum(value.numel() * value.element_size() for value in weights.values())
    places = dict.fromkeys(own, VISION_FILE) | dict.fromkeys(text, f"../text_encoder/{TEXT_FILE}")
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / f"{TEXT_FILE}.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def _write_card(target: Path, facts: Mapping[str, object]) -> None:
    """Write the card: the facts, the total size, and every file's SHA-256."""
    files = sorted(path for path in target.rglob("*") if path.is_file() and path.name != CARD)
    hashes = {path.relative_to(target).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    card = {**facts, "bytes": sum(path.stat().st_size for path in files), "sha256": hashes}
    (target / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
