"""Every method on Stable Diffusion 1.5's true architecture with random weights: ms per step and peak memory.

    python tests/benchmarks/bench_sd15.py [--steps 10] [--dtype bfloat16] [--tiny]

It builds the pipeline, saves it as a diffusers folder, and loads it through the code that loads real weights.
Speed and memory are those of the real model; samples and losses are meaningless. `--tiny` tries the script on a CPU.
"""

import argparse
import dataclasses
import functools
import gc
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from plain_examples import EXAMPLES

from trainables.data.concept import concept_from_images
from trainables.methods import MethodSpec
from trainables.methods.base import Method
from trainables.methods.textual_inversion import TextualInversion
from trainables.models.base import BaseModel
from trainables.models.files import fingerprint
from trainables.models.stable_diffusion import load
from trainables.settings import BaseModelSettings
from trainables.training.config import RunConfig
from trainables.training.run import Models, TrainingRun
from trainables.training.training import PAPER_BATCH, Training

# Operations of SD 1.5's U-Net at 512 px, per image: forward, and forward with the backward pass to the text (TFLOP).
FORWARD, FORWARD_BACKWARD = 0.82, 1.75
DENSE_BF16 = 790.0  # TFLOP/s of a large matrix product, as measured on an H200 or H100


def tokenizer(folder: Path) -> int:
    """Save a tokenizer in CLIP's format with byte-level words, padded to CLIP's 49,408 ids; return the end's id."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += [f"unused{i}" for i in range(49406 - len(words))] + ["<|startoftext|>", "<|endoftext|>"]
    CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77).save_pretrained(
        folder
    )
    return 49407


def build(folder: Path, tiny: bool) -> None:
    """Write SD 1.5 with random weights, or a version of it with few channels."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    width = 32 if tiny else 320
    hidden = 64 if tiny else 768
    end = tokenizer(folder / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=2 if tiny else 12,
        num_attention_heads=hidden // 64, hidden_act="quick_gelu", projection_dim=hidden, eos_token_id=end,
        bos_token_id=end - 1, pad_token_id=end,
    )  # fmt: skip
    CLIPTextModel(text).to(torch.bfloat16).save_pretrained(folder / "text_encoder")
    channels = (32, 32, 32, 32) if tiny else (128, 256, 512, 512)
    AutoencoderKL(
        block_out_channels=channels, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4, sample_size=512,
    ).to(torch.bfloat16).save_pretrained(folder / "vae")  # fmt: skip
    UNet2DConditionModel(
        sample_size=64, cross_attention_dim=hidden, attention_head_dim=8,
        block_out_channels=(width, 2 * width, 4 * width, 4 * width),
    ).to(torch.bfloat16).save_pretrained(folder / "unet")  # fmt: skip
    schedule = DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, steps_offset=1
    )
    schedule.save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')


def build_clip(folder: Path, tiny: bool) -> None:
    """Write a CLIP ViT-B/32 with random weights, for the scores."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    end = tokenizer(folder)
    small = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
    text = {"vocab_size": 49408, "eos_token_id": end, "bos_token_id": end - 1, "pad_token_id": end}
    CLIPModel(
        CLIPConfig(text_config=text | (small if tiny else {}), vision_config=small if tiny else {})
    ).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)


def run_preset(folder: Path, concept, tiny: bool) -> None:
    """Run the preset `sd15` for 10 steps as a worker does, with its samples and scores at the end."""
    try:
        from orchestrator.config import presets
        from orchestrator.recordings import RecordingStore
        from orchestrator.recordings.identity import RunIdentity
    except ImportError as error:  # only the training core is installed
        print(f"preset sd15: not run, {error}")
        return
    experiment = presets.sd15()
    resolution = 64 if tiny else experiment.base_model.resolution
    shorter = {"samples": 1, "inference_steps": 2} if tiny else {}
    config = RunConfig(
        base_model=dataclasses.replace(experiment.base_model, id=str(folder), resolution=resolution),
        method=MethodSpec("trainables.methods.textual_inversion"),
        budget=10,
        fixed_batch=experiment.fixed_batch,
        quality=dataclasses.replace(experiment.quality, every=None, scorer=str(folder / "clip"), **shorter),
    )
    identity = RunIdentity({"concept": {"name": concept.name}, "budget": config.budget, "seed": 0})
    store = RecordingStore(str(folder / "store"))
    run = TrainingRun(Models.load(config), config, concept, store.recorder(identity))
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    while run.advance().state == "running":
        pass
    recording = store.find(identity)
    steps = 1e3 * statistics.median(recording.steps.seconds + recording.steps.l_det_seconds)
    peak = f", peak {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if torch.cuda.is_available() else ""
    scores = ", ".join(f"{name} {values[-1]:.3f}" for name, values in recording.quality.scores.items())
    print(f"preset sd15, {len(recording.steps)} steps, {recording.state}: {steps:.1f} ms per step with L_det{peak}")
    print(f"  samples and scores at the end took {recording.quality.seconds[-1]:.1f} s (meaningless: {scores})")


def fresh(folder: Path, settings: BaseModelSettings, device: str) -> BaseModel:
    """Load the model afresh, with nothing else in memory."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return load(folder, settings, device)


def measure(base, concept, method: Method, steps: int, fixed_batch=PAPER_BATCH) -> dict[str, float]:
    """Train some steps after three to warm up; return medians in ms and the peak memory in GiB."""
    if base.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    with Training(base, method, concept, fixed_batch=fixed_batch) as training:
        ready = time.perf_counter()
        for _ in range(3):
            training.step()
        rows = [training.step() for _ in range(steps)]
        training.state_dict()  # a checkpoint must not need more memory than a step
        count = sum(parameter.numel() for parameter in method.parameters())
    return {
        "step": 1e3 * statistics.median(row.seconds for row in rows),
        "l_det": 1e3 * statistics.median(row.l_det_seconds for row in rows),
        "peak": torch.cuda.max_memory_allocated() / 2**30 if base.device.type == "cuda" else float("nan"),
        "trained": count / 1e6,
        "setup": ready - start,
    }


FEW = {"images": 4, "inference_steps": 2}  # class images; their number changes neither time nor memory of a step
VARIANTS = [
    ("textual_inversion", "paper", {}),
    ("textual_inversion", "diffusers", {}),
    ("dreambooth_lora", "paper", {}),
    ("dreambooth_lora", "diffusers", {}),
    ("dreambooth", "diffusers", {}),
    ("dreambooth", "prior", {"prior": FEW}),
    ("custom_diffusion", "diffusers", {"prior": FEW}),
    ("p_plus", "original", {}),
    ("svdiff", "plain", {}),
]


def measure_methods(load_fresh, concept, steps: int, only: list[str] | None) -> None:
    """Print time and memory of every method, with and without L_det, beside those of the maintained example."""
    print(
        "                                                        |     with L_det of 8      |     without      |"
        "  as diffusers' example: ratio\n"
        "method             recipe     images  trained M  set-up s |  step ms  L_det  peak GiB |  step ms  peak GiB |"
        "  step ms  time  peak GiB  memory"
    )
    for name, recipe, settings in VARIANTS:
        if only and name not in only:
            continue
        spec = MethodSpec(f"trainables.methods.{name}", settings, recipe)
        on, off = (measure(load_fresh(), concept, spec(), steps, batch) for batch in (PAPER_BATCH, None))
        images = spec().batch_size * (2 if spec().prior else 1)
        line = (
            f"{name:<18} {recipe:<10} {images:>6}  {on['trained']:>9.3f}  {on['setup']:>8.1f} | {on['step']:>8.1f}  "
            f"{on['l_det']:>5.1f}  {on['peak']:>8.2f} | {off['step']:>8.1f}  {off['peak']:>8.2f} |"
        )
        if (name, recipe) in EXAMPLES:
            plain = EXAMPLES[name, recipe](load_fresh()).measure(steps)
            line += (
                f" {plain['step']:>8.1f}  {off['step'] / plain['step']:>4.2f}  {plain['peak']:>8.2f}  "
                f"{on['peak'] / plain['peak']:>6.2f}"
            )
        print(line, flush=True)


def main() -> None:
    """Build, load, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--methods", nargs="+", help="measure only these methods")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.tiny:
        print("no CUDA device: skipped (try --tiny)")
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    resolution = 64 if options.tiny else 512
    settings = BaseModelSettings(id="built", resolution=resolution, dtype=options.dtype)
    images = [Image.effect_noise((700, 500 + 20 * i), 60).convert("RGB") for i in range(5)]
    concept = concept_from_images("noise", "toy", images)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder, options.tiny)
        start = time.perf_counter()
        digest = fingerprint(folder)
        hashed = time.perf_counter()
        base = load(folder, settings, device)
        print(f"fingerprint {digest} in {hashed - start:.1f} s, loaded in {time.perf_counter() - hashed:.1f} s")
        if not options.methods:
            build_clip(folder / "clip", options.tiny)
            run_preset(folder, concept, options.tiny)
            report(base, concept, options)
        del base
        measure_methods(functools.partial(fresh, folder, settings, device), concept, options.steps, options.methods)


def report(base, concept, options: argparse.Namespace) -> None:
    """Print the speed of Textual Inversion beside the floor set by its operations."""
    device, resolution = base.device.type, base.resolution
    unet = sum(p.numel() for p in base.unet.parameters()) / 1e6
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, U-Net of {unet:.0f} M parameters, {resolution} px, {options.dtype}")
    print("batch  step ms  floor  ratio  L_det(8) ms  floor  ratio  peak GiB")
    for batch in (1, 2, 4):
        figures = measure(base, concept, TextualInversion(batch_size=batch), options.steps)
        floor, det_floor = 1e3 * batch * FORWARD_BACKWARD / DENSE_BF16, 1e3 * 8 * FORWARD / DENSE_BF16
        step, l_det = figures["step"], figures["l_det"]
        print(
            f"{batch:>5}  {step:>7.1f}  {floor:>5.1f}  {step / floor:>5.1f}  {l_det:>11.1f}  {det_floor:>5.1f}  "
            f"{l_det / det_floor:>5.1f}  {figures['peak']:>8.2f}"
        )


if __name__ == "__main__":
    main()
