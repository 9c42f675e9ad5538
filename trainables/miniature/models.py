"""Builds the miniature: a Stable Diffusion of the real classes, small and from a seed, as a diffusers folder.

Its weights are random: it exercises every code path of the real model, and its samples mean nothing.
"""

import json
from pathlib import Path
from typing import Any

import torch

from trainables.miniature.world import NOUNS, concept_images
from trainables.prompts import OBJECT_TEMPLATES
from trainables.quiet import quiet_libraries
from trainables.randomness import derived_seed

RESOLUTION = 64
CONCEPTS = 6
TEXT_LENGTH = 32
WORDS = ("red", "green", "blue", "yellow", "white", "black", "on", "in", "next", "to", "the", "beach", "snow", "table")


def build(folder: Path, seed: int) -> None:
    """Build tokenizer, text encoder, VAE, U-Net, scheduler and a CLIP for the scores from a seed, and save them.

    Args:
        folder: an empty folder; it becomes a diffusers pipeline, with `clip` and `concepts` beside its components.
        seed: of all weights; equal seeds give equal weights.
    """
    quiet_libraries()
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    with torch.random.fork_rng(devices=[]):  # the models' constructors know no generator: keep the seed in here
        torch.manual_seed(seed)
        tokenizer = _tokenizer()
        text_encoder, vae, unet = _text_encoder(tokenizer), _vae(), _unet()
        clip = _clip(tokenizer)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    clip.save_pretrained(folder / "clip", safe_serialization=True)
    tokenizer.save_pretrained(folder / "clip")
    _image_processor().save_pretrained(folder / "clip")
    for index in range(CONCEPTS):
        _write_concept(folder / "concepts", index, seed)


def _write_concept(folder: Path, index: int, seed: int) -> None:
    """Render one toy in a few scenes, as a concept folder like a user's."""
    noun = NOUNS[index % len(NOUNS)]
    _, images = concept_images(derived_seed(seed, "concept", str(index)), noun=noun)
    concept = folder / f"{noun}_{index:02d}"
    concept.mkdir(parents=True)
    for view, image in enumerate(images):
        image.save(concept / f"{view:02d}.png")


def _tokenizer() -> Any:
    """Train CLIP's byte-pair encoding on the words of the captions."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = sorted({word for text in (*OBJECT_TEMPLATES, *NOUNS, *WORDS) for word in text.replace("{}", "").split()})
    ends = [f"{letter}</w>" for letter in alphabet]
    # Letters at a word's end as special tokens: they get their ids in this order, otherwise in that of a hash table.
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        initial_alphabet=alphabet,
        special_tokens=ends,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator(words, trainer)
    model = json.loads(bpe.to_str())["model"]
    vocabulary = [*sorted(model["vocab"], key=model["vocab"].__getitem__), "<|startoftext|>", "<|endoftext|>"]
    merges = [tuple(merge) for merge in model["merges"]]
    ids = {word: index for index, word in enumerate(vocabulary)}
    return CLIPTokenizer(vocab=ids, merges=merges, model_max_length=TEXT_LENGTH)


def _text_config(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": TEXT_LENGTH,
        "projection_dim": 64,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _text_encoder(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**_text_config(tokenizer))).eval()


def _clip(tokenizer: Any) -> Any:
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=RESOLUTION,
        patch_size=8,
        projection_dim=64,
    )
    text = CLIPTextConfig(**_text_config(tokenizer))
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64)).eval()


def _image_processor() -> Any:
    from transformers import CLIPImageProcessor

    side = {"height": RESOLUTION, "width": RESOLUTION}
    return CLIPImageProcessor(size={"shortest_edge": RESOLUTION}, crop_size=side)


def _vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=RESOLUTION,
        scaling_factor=1.0,
    ).eval()


def _unet() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=RESOLUTION // 4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=64,
        attention_head_dim=4,  # diffusers takes it as the number of heads
        norm_num_groups=8,
    ).eval()
