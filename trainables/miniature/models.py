"""The miniature's networks: small instances of the classes in which Stable Diffusion, CLIP and DINO are published."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.miniature.world.captions import vocabulary

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTextModel, CLIPTokenizer, ViTModel

RESOLUTION = 64
TEXT_LENGTH = 32


@dataclass(frozen=True)
class Sizes:
    """Widths and depths of the networks.

    Attributes:
        text_width, text_layers: CLIP's text encoder, on whose states the U-Net is conditioned.
        vision_width, vision_layers: CLIP's vision transformer.
        projection: dimensions of CLIP's joint space.
        vae_channels: channels of the VAE's levels; each level but the first halves the sides.
        latent_channels: channels of the VAE's latents.
        unet_channels: channels of the U-Net's levels; all but the first have cross-attention.
        dino_width, dino_layers: the identity network's vision transformer.
        groups: groups of every group normalization.
    """

    text_width: int = 192
    text_layers: int = 4
    vision_width: int = 160
    vision_layers: int = 4
    projection: int = 128
    vae_channels: tuple[int, ...] = (48, 96, 96)
    latent_channels: int = 8
    unet_channels: tuple[int, ...] = (80, 128, 160)
    dino_width: int = 128
    dino_layers: int = 4
    groups: int = 16


FULL = Sizes()
TINY = Sizes(
    text_width=32,
    text_layers=1,
    vision_width=32,
    vision_layers=1,
    projection=16,
    vae_channels=(8, 16, 16),
    latent_channels=4,
    unet_channels=(8, 16, 16),
    dino_width=32,
    dino_layers=1,
    groups=4,
)


def make_tokenizer() -> "CLIPTokenizer":
    """Train CLIP's byte-pair encoding on the captions' vocabulary, so that every word is a single token."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ends = [f"{letter}</w>" for letter in alphabet]
    # Letters at the end of a word are special tokens, which get their ids in this order; others follow a hash table's.
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        initial_alphabet=alphabet,
        special_tokens=ends,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator(vocabulary(), trainer)
    model = json.loads(bpe.to_str())["model"]
    words = [*sorted(model["vocab"], key=model["vocab"].__getitem__), "<|startoftext|>", "<|endoftext|>"]
    merges = [tuple(merge) for merge in model["merges"]]
    ids = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocab=ids, merges=merges, model_max_length=TEXT_LENGTH)


def make_clip(sizes: Sizes, tokenizer: "CLIPTokenizer") -> "CLIPModel":
    """Return transformers' `CLIPModel` with random weights; its text half is the pipeline's text encoder."""
    from transformers import CLIPConfig, CLIPModel

    vision = {
        **_transformer(sizes.vision_width, sizes.vision_layers),
        "image_size": RESOLUTION,
        "patch_size": 8,
        "projection_dim": sizes.projection,
    }
    text = _text_config(sizes, tokenizer)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=sizes.projection))


def make_text_encoder(sizes: Sizes, tokenizer: "CLIPTokenizer") -> "CLIPTextModel":
    """Return transformers' `CLIPTextModel` with random weights, shaped like the text half of `make_clip`."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**_text_config(sizes, tokenizer)))


def _text_config(sizes: Sizes, tokenizer: "CLIPTokenizer") -> dict[str, int]:
    return {
        **_transformer(sizes.text_width, sizes.text_layers),
        "vocab_size": len(tokenizer),
        "max_position_embeddings": TEXT_LENGTH,
        "projection_dim": sizes.projection,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _transformer(width: int, layers: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
    }


def make_image_processor() -> "CLIPImageProcessor":
    """Return CLIP's image preprocessing, at the miniature's resolution."""
    from transformers import CLIPImageProcessor

    side = {"height": RESOLUTION, "width": RESOLUTION}
    return CLIPImageProcessor(size={"shortest_edge": RESOLUTION}, crop_size=side)


def make_dino(sizes: Sizes) -> "ViTModel":
    """Return transformers' `ViTModel`, the class in which DINO is published, with random weights."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(**_transformer(sizes.dino_width, sizes.dino_layers), image_size=RESOLUTION, patch_size=8)
    return ViTModel(config, add_pooling_layer=False)


def make_vae(sizes: Sizes, scaling_factor: float = 1.0) -> "AutoencoderKL":
    """Return diffusers' `AutoencoderKL` with random weights; its latents have a quarter of the image's side.

    Args:
        sizes: widths of its levels, and channels of its latents.
        scaling_factor: factor that brings latents to about unit variance.
    """
    from diffusers import AutoencoderKL

    levels = len(sizes.vae_channels)
    return AutoencoderKL(
        block_out_channels=sizes.vae_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=sizes.latent_channels,
        norm_num_groups=sizes.groups,
        sample_size=RESOLUTION,
        scaling_factor=scaling_factor,
    )


def make_unet(sizes: Sizes) -> "UNet2DConditionModel":
    """Return diffusers' `UNet2DConditionModel` with random weights, which attends to the text encoder's states."""
    from diffusers import UNet2DConditionModel

    attended = len(sizes.unet_channels) - 1
    return UNet2DConditionModel(
        sample_size=RESOLUTION // 4,
        in_channels=sizes.latent_channels,
        out_channels=sizes.latent_channels,
        block_out_channels=sizes.unet_channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * attended),
        up_block_types=(*("CrossAttnUpBlock2D",) * attended, "UpBlock2D"),
        cross_attention_dim=sizes.text_width,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=sizes.groups,
    )


def make_scheduler() -> "DDIMScheduler":
    """Return Stable Diffusion's noise schedule, with DDIM as its sampler."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
