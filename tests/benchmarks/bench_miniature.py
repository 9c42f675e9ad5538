"""The miniature's cost on a CPU: a step of Textual Inversion, L_det, samples, a rendered concept.

    python tests/benchmarks/bench_miniature.py [threads]

Each time is compared with that of large matrix products with as many operations, measured in the same run; rendering in
a batch is compared with rendering singly.
"""

import statistics
import sys
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainables.methods.textual_inversion import TextualInversion
from trainables.miniature import concepts, miniature_folder
from trainables.miniature.world.renderer import render
from trainables.models.stable_diffusion import load
from trainables.settings import BaseModelSettings, FixedBatchSettings
from trainables.training.training import Training

REPEATS = 15


def milliseconds(function):
    """Return the median time of a call, after two calls to warm up."""
    times = []
    for _ in range(REPEATS + 2):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[2:])


def operations(function):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def main():
    """Measure and print."""
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    rate = 2 * 1024**3 / milliseconds(lambda: a @ b)  # operations per millisecond
    print(f"{torch.get_num_threads()} threads, {rate / 1e6:.0f} GFLOP/s in a product of 1024 x 1024")
    folder = miniature_folder()
    base = load(folder, BaseModelSettings())
    (concept,) = concepts.load(["robot_1"])
    training = Training(base, TextualInversion(batch_size=4), concept, fixed_batch=FixedBatchSettings(size=8))
    latents = torch.randn(8, base.unet.config.in_channels, 16, 16)
    decode = torch.no_grad()(lambda: base.vae.decode(latents))
    parts = {
        "a Textual Inversion step of batch 4": training._update,
        "L_det of 8 inputs": lambda: training.fixed_batch.losses(training.base, training.method),
        "decoding 8 samples": decode,
    }
    for what, function in parts.items():
        time_ms, floor = milliseconds(function), operations(function) / rate
        print(f"{what:38s} {time_ms:8.1f} ms, {time_ms / floor:4.1f} times its operations as matrix products")
    views = concepts.scenes("robot_1")
    toys = [concepts.toy("robot_1")] * len(views)
    together = milliseconds(lambda: render(toys, views))
    singly = milliseconds(lambda: [render([toy], [view]) for toy, view in zip(toys, views, strict=True)])
    what = f"rendering {len(views)} views of a concept"
    print(f"{what:38s} {together:8.1f} ms, singly {singly / together:.2f} times that")


if __name__ == "__main__":
    main()
