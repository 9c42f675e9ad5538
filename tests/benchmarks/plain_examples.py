"""Plain loops in the manner of diffusers' maintained examples, only for comparing speed and memory.

Each keeps trained weights in float32 and frozen ones in half precision, runs the U-Net under autocast, encodes images
with the VAE in every step, and uses torch's AdamW with its defaults: what the examples do with `--mixed_precision=bf16`
and no other flag. The images are noise.
"""

import contextlib
import functools
import statistics
import time

import torch
from torch.nn import functional as F

from trainables.models.base import BaseModel


class PlainLoop:
    """The training steps of an example.

    Args:
        base: freshly loaded; changed for good.
        batch: images per pass through the model, class images included.
        parameters: what trains, float32.
        trains_text: whether gradients flow into the text encoder.
        max_grad_norm: norm to which gradients are clipped; None does not clip.
        accumulation: batches per step.
    """

    def __init__(
        self, base: BaseModel, batch: int, parameters, *, trains_text: bool, max_grad_norm=1.0, accumulation=1
    ) -> None:
        self.base, self.batch, self.parameters, self.trains_text = base, batch, [*parameters], trains_text
        self.max_grad_norm, self.accumulation = max_grad_norm, accumulation
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-6)
        self.pixels = torch.rand(batch, 3, base.resolution, base.resolution, device=base.device) * 2 - 1
        self.ids = base.tokenize(["a photo of a toy"] * batch)

    def step(self) -> None:
        """Accumulate the gradients of all batches, and update."""
        for _ in range(self.accumulation):
            self._backward()
        if self.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _backward(self) -> None:
        """Encode, add noise, predict, and backpropagate the error."""
        base, device = self.base, self.base.device
        with torch.no_grad():
            latents = base.vae.encode(self.pixels.to(base.vae.dtype)).latent_dist.sample() * 0.18215
        noise = torch.randn_like(latents)
        timesteps = torch.randint(base.timesteps, (self.batch,), device=device)
        noisy = base.schedule.add_noise(latents, noise, timesteps)
        with torch.autocast(device.type, torch.bfloat16):
            with contextlib.nullcontext() if self.trains_text else torch.no_grad():
                states = base.text_encoder(self.ids)[0]
            prediction = base.unet(noisy, timesteps, states).sample
        (F.mse_loss(prediction.float(), noise.float()) / self.accumulation).backward()

    def measure(self, steps: int) -> dict[str, float]:
        """Return the median time of a step in ms, and the peak memory in GiB."""
        is_cuda = self.base.device.type == "cuda"
        times = []
        for _ in range(3 + steps):
            start = time.perf_counter()
            self.step()
            if is_cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        peak = torch.cuda.max_memory_allocated() / 2**30 if is_cuda else float("nan")
        return {"step": 1e3 * statistics.median(times[3:]), "peak": peak}


def textual_inversion(base: BaseModel) -> PlainLoop:
    """Train the whole table of embeddings in a float32 text encoder; images pass singly, four per step."""
    base.text_encoder.float()
    table = base.text_encoder.get_input_embeddings().weight.requires_grad_(True)
    return PlainLoop(base, 1, [table], trains_text=True, max_grad_norm=None, accumulation=4)


def dreambooth_lora(base: BaseModel) -> PlainLoop:
    """Train a LoRA of rank 4 on the U-Net's attention, with peft."""
    from peft import LoraConfig

    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    base.unet.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights="gaussian", target_modules=targets))
    factors = [parameter for parameter in base.unet.parameters() if parameter.requires_grad]
    for factor in factors:
        factor.data = factor.data.float()
    return PlainLoop(base, 1, factors, trains_text=False)


def dreambooth(base: BaseModel, batch: int = 1) -> PlainLoop:
    """Train the whole U-Net in float32; with class images, the batch is two."""
    base.unet.float().requires_grad_(True)
    return PlainLoop(base, batch, base.unet.parameters(), trains_text=False)


def custom_diffusion(base: BaseModel) -> PlainLoop:
    """Train the cross-attention's keys and values, and the table of embeddings of a float32 text encoder.

    A batch is two images and two class images.
    """
    base.text_encoder.float()
    table = base.text_encoder.get_input_embeddings().weight.requires_grad_(True)
    matrices = [
        p for name, p in base.unet.named_parameters() if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))
    ]
    for matrix in matrices:
        matrix.data = matrix.data.float()
        matrix.requires_grad_(True)
    return PlainLoop(base, 4, [*matrices, table], trains_text=True)


#: The example that does the same as a method with a recipe.
EXAMPLES = {
    ("textual_inversion", "diffusers"): textual_inversion,
    ("dreambooth_lora", "diffusers"): dreambooth_lora,
    ("dreambooth", "diffusers"): dreambooth,
    ("dreambooth", "prior"): functools.partial(dreambooth, batch=2),
    ("custom_diffusion", "diffusers"): custom_diffusion,
}
