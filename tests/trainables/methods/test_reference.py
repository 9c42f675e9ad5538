"""Our training against plain loops, written here from the published recipes on diffusers' own classes."""

import copy

import pytest
import torch
from torch.nn import functional as F

from trainables.data.framing import central_square
from trainables.data.inputs import SOURCES
from trainables.data.randomness import Streams
from trainables.methods.custom_diffusion import CustomDiffusion
from trainables.methods.dreambooth import DreamBooth
from trainables.methods.dreambooth_lora import DreamBoothLoRA
from trainables.methods.textual_inversion import TextualInversion
from trainables.training.training import Training

STEPS = 10


@pytest.fixture
def concept(toy_concepts):
    return toy_concepts[0]


def run_ours(base, method, concept):
    with Training(base, method, concept, seed=7, fixed_batch=None) as training:
        start = {name: value.clone() for name, value in training.method.state_dict().items()}
        losses = [training.step().train_loss for _ in range(STEPS)]
        return start, losses, {name: value.clone() for name, value in training.method.state_dict().items()}


class PlainLoop:
    """The loop of diffusers' examples: encode the image, noise it, encode the caption, predict, step.

    It shares the random numbers with ours, and nothing else: the image is encoded by the VAE in every step.
    """

    def __init__(self, base, concept, method, phrase, max_grad_norm=None):
        self.base, self.method, self.max_grad_norm = base, method, max_grad_norm
        self.images = [central_square(image, base.resolution) for image in concept.decode()]
        self.captions = [template.format(phrase) for template in method.templates]
        self.streams = Streams(7, "training", SOURCES)

    def loss(self):
        size, base, streams = self.method.batch_size, self.base, self.streams
        timesteps = torch.randint(base.schedule.config.num_train_timesteps, (size,), generator=streams["timesteps"])
        images = torch.randint(len(self.images), (size,), generator=streams["images"])
        flips = torch.rand(size, generator=streams["flips"]) < self.method.flip_probability
        captions = torch.randint(len(self.captions), (size,), generator=streams["captions"])
        pixels = [self.images[i].flip(-1) if flip else self.images[i] for i, flip in zip(images, flips, strict=True)]
        with torch.no_grad():
            posterior = base.vae.encode(torch.stack(pixels)).latent_dist
            sample = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=streams["latents"])
            shift = base.vae.config.shift_factor or 0.0
            latents = (sample - shift) * base.vae.config.scaling_factor
        noise = torch.randn(latents.shape, generator=streams["noise"])
        noisy = base.schedule.add_noise(latents, noise, timesteps)
        text = [self.captions[i] for i in captions]
        ids = base.tokenizer(text, padding="max_length", truncation=True, return_tensors="pt").input_ids
        states = base.text_encoder(ids)[0]
        return F.mse_loss(base.unet(noisy, timesteps, states).sample.float(), noise.float())

    def run(self, parameters, after=lambda: None):
        optimizer = torch.optim.AdamW(parameters, lr=self.method.learning_rate, weight_decay=self.method.weight_decay)
        losses = []
        for _ in range(STEPS):
            loss = self.loss()
            optimizer.zero_grad()
            loss.backward()
            if self.max_grad_norm:
                torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
            optimizer.step()
            after()
            losses.append(loss.item())
        return losses


def close(a, b):
    return torch.allclose(torch.as_tensor(a), torch.as_tensor(b), rtol=1e-4, atol=1e-6)


def test_textual_inversion(base, concept):
    """The whole table trains, and after every step each row but the placeholder's is put back."""
    plain = copy.deepcopy(base)
    method = TextualInversion()
    _, losses, end = run_ours(base, method, concept)
    plain.tokenizer.add_tokens([concept.placeholder])
    plain.text_encoder.resize_token_embeddings(len(plain.tokenizer), mean_resizing=False)
    table = plain.text_encoder.get_input_embeddings().weight
    row = plain.tokenizer.convert_tokens_to_ids(concept.placeholder)
    (noun,) = plain.tokenizer(concept.class_noun, add_special_tokens=False).input_ids
    with torch.no_grad():
        table[row] = table[noun]
    frozen = table.detach().clone()
    table.requires_grad_(True)

    def put_back():
        with torch.no_grad():
            others = torch.arange(len(table)) != row
            table[others] = frozen[others]

    loop = PlainLoop(plain, concept, method, concept.placeholder)
    assert close(loop.run([table], put_back), losses)
    assert close(table[row].detach(), end["vectors"][0])
    assert not close(end["vectors"][0], frozen[row])


class PlainLoRA(torch.nn.Module):
    """W x + (alpha / rank) B A x (Hu et al., 2022)."""

    def __init__(self, linear, first, second, scale):
        super().__init__()
        self.linear, self.scale = linear, scale
        self.first, self.second = torch.nn.Parameter(first.clone()), torch.nn.Parameter(second.clone())

    def forward(self, x, *_):
        return self.linear(x) + self.scale * (x @ self.first.T) @ self.second.T


def test_dreambooth_lora(base, concept):
    plain = copy.deepcopy(base)
    recipe = DreamBoothLoRA.recipes["diffusers"] | {"learning_rate": 1e-2, "max_grad_norm": 0.01, "alpha": 8}
    method = DreamBoothLoRA(**recipe)
    start, losses, end = run_ours(base, method, concept)
    layers = {}
    for name, module in list(plain.unet.named_modules()):
        if name.endswith(("to_q", "to_k", "to_v", "to_out.0")) and isinstance(module, torch.nn.Linear):
            prefix = f"lora.{name}"
            lora = PlainLoRA(
                module, start[f"{prefix}.lora_A.concept.weight"], start[f"{prefix}.lora_B.concept.weight"], 8 / 4
            )
            owner, _, attribute = name.rpartition(".")
            setattr(plain.unet.get_submodule(owner), attribute, lora)
            layers[prefix] = lora
    assert 2 * len(layers) == len(start)
    parameters = [p for lora in layers.values() for p in (lora.first, lora.second)]
    loop = PlainLoop(plain, concept, method, f"sks {concept.class_noun}", max_grad_norm=0.01)
    assert close(loop.run(parameters), losses)
    for prefix, lora in layers.items():
        assert close(lora.first.detach(), end[f"{prefix}.lora_A.concept.weight"])
        assert close(lora.second.detach(), end[f"{prefix}.lora_B.concept.weight"])


def test_dreambooth(base, concept):
    plain = copy.deepcopy(base)
    method = DreamBooth(learning_rate=1e-4)
    _, losses, end = run_ours(base, method, concept)
    plain.unet.requires_grad_(True)
    loop = PlainLoop(plain, concept, method, f"sks {concept.class_noun}", max_grad_norm=1.0)
    assert close(loop.run(list(plain.unet.parameters())), losses)
    assert all(close(p.detach(), end[f"unet.{name}/value"]) for name, p in plain.unet.named_parameters())


def test_custom_diffusion_without_its_scales_and_class_images(base, concept):
    plain = copy.deepcopy(base)
    method = CustomDiffusion(learning_rate=1e-3, random_scale=False, prior=None)
    start, losses, end = run_ours(base, method, concept)
    plain.tokenizer.add_tokens([concept.placeholder])
    plain.text_encoder.resize_token_embeddings(len(plain.tokenizer), mean_resizing=False)
    table = plain.text_encoder.get_input_embeddings().weight
    (noun,) = plain.tokenizer(concept.class_noun, add_special_tokens=False).input_ids
    row = plain.tokenizer.convert_tokens_to_ids(concept.placeholder)
    with torch.no_grad():
        table[row] = table[noun]
    frozen = table.detach().clone()
    table.requires_grad_(True)
    trained = {name: p for name, p in plain.unet.named_parameters() if "attn2.to_k" in name or "attn2.to_v" in name}
    for parameter in trained.values():
        parameter.requires_grad_(True)

    def put_back():
        with torch.no_grad():
            others = torch.arange(len(table)) != row
            table[others] = frozen[others]

    # Other rows of the table get no gradient but where captions hold them: they are put back, and of the clipped
    # norm they must be no part.
    table.register_hook(lambda gradient: gradient * (torch.arange(len(table)) == row)[:, None])
    loop = PlainLoop(plain, concept, method, f"{concept.placeholder} {concept.class_noun}", max_grad_norm=1.0)
    assert close(loop.run([*trained.values(), table], put_back), losses)
    # AdamW divides by the gradient's size: where that is rounding alone, single weights may go either way.
    for name, parameter in trained.items():
        moved = (end[f"unet.{name}/value"] - start[f"unet.{name}/value"]).norm()
        assert (parameter.detach() - end[f"unet.{name}/value"]).norm() < 1e-3 * moved
    assert close(table[row].detach(), end["word.vectors"][0])
