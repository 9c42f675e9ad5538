"""The interface of base models: a new architecture is one class, and methods train it as they are."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainables.data.framing import central_square
from trainables.errors import InvalidInput
from trainables.methods.dreambooth import DreamBooth
from trainables.methods.svdiff import SVDiff
from trainables.models.base import BaseModel, Conditioning
from trainables.training.training import Training

WIDTH, TOKENS, TIMESTEPS = 8, 12, 100


class Flow(nn.Module):
    """Predicts a velocity from latents, the time, the mean of the text's states and its pooled state."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(to_json_string=lambda: "{}")
        self.read, self.inside = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Linear(2 * WIDTH + 1, WIDTH)
        self.out = nn.Conv2d(WIDTH, 3, 3, padding=1)

    def forward(self, latents, times, states, pooled):
        context = self.inside(torch.cat([states.mean(dim=1), pooled, times[:, None]], dim=1))
        return self.out(torch.tanh(self.read(latents) + context[:, :, None, None]))


class FlowModel(BaseModel):
    """A base model that learns by flow matching: z = (1 - s) x + s n, whose target is n - x (Lipman et al., 2023).

    Its text has two tensors, and its timesteps crowd in the middle, as those of Stable Diffusion 3 do.
    """

    denoiser_name = "transformer"
    device, dtype, timesteps, resolution = torch.device("cpu"), torch.float32, TIMESTEPS, 32
    denoiser = None

    def __init__(self):
        self.denoiser, self.text_encoder = Flow(), nn.Embedding(256, WIDTH)
        for module in (self.denoiser, self.text_encoder):
            module.eval().requires_grad_(False)

    def draw_timesteps(self, count, generator):
        return (torch.randn(count, generator=generator).sigmoid() * self.timesteps).long()

    def tokenize(self, captions):
        return torch.tensor([[*caption.encode()[:TOKENS].ljust(TOKENS)] for caption in captions])

    def encode_text(self, input_ids_bl):
        states = self.text_encoder(input_ids_bl)
        return Conditioning({"states": states, "pooled": states[:, -1]})

    def encode_images(self, pixels_bchw):
        mean = F.avg_pool2d(pixels_bchw, 4)
        return mean, torch.full_like(mean, 0.01)

    def corrupt(self, latents_bchw, noise_bchw, timesteps_b):
        share = self.time(timesteps_b)[:, None, None, None]
        return (1 - share) * latents_bchw + share * noise_bchw, noise_bchw - latents_bchw

    def predict(self, noisy_latents_bchw, timesteps_b, conditioning):
        return self.denoiser(noisy_latents_bchw, self.time(timesteps_b), **conditioning.tensors)

    def time(self, timesteps_b):
        return (timesteps_b + 1) / self.timesteps

    def pipeline(self):
        raise NotImplementedError

    attention_projections = text_projections = text_readers = save_adapter = pipeline  # no method here asks for them


@pytest.fixture
def flow_model():
    torch.manual_seed(0)
    return FlowModel()


def weights(model):
    parts = (("denoiser", model.denoiser), ("text", model.text_encoder))
    return {f"{part}.{name}": value.clone() for part, module in parts for name, value in module.state_dict().items()}


METHODS = {
    "dreambooth": lambda **settings: DreamBooth(learning_rate=3e-3, **settings),
    "dreambooth with its text encoder": lambda **settings: DreamBooth(
        learning_rate=3e-3, trains_text_encoder=True, **settings
    ),
    "svdiff": lambda **settings: SVDiff(learning_rate=3e-2, **settings),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_it_and_leaves_it_as_it_was(flow_model, toy_concepts, name):
    before = weights(flow_model)
    with Training(flow_model, METHODS[name](batch_size=4, micro_batch=2), toy_concepts[0]) as training:
        series = [sum(training.initial_losses) / 8, *(training.step().l_det for _ in range(3))]
        assert series == sorted(series, reverse=True)
        assert series[-1] < 0.99 * series[0]
    after = weights(flow_model)
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_what_was_learned_is_exported_by_role_and_loaded(flow_model, toy_concepts, tmp_path):
    with Training(flow_model, DreamBooth(learning_rate=3e-3), toy_concepts[0]) as training:
        learned = training.step().l_det
        training.method.export(tmp_path)
    fresh = FlowModel()
    fresh.denoiser.load_state_dict(flow_model.denoiser.state_dict())
    fresh.text_encoder.load_state_dict(flow_model.text_encoder.state_dict())
    DreamBooth.load_into(SimpleNamespace(transformer=fresh.denoiser, text_encoder=fresh.text_encoder), tmp_path)
    with Training(fresh, SVDiff(), toy_concepts[0]) as loaded:
        assert sum(loaded.initial_losses) / 8 == pytest.approx(learned, rel=1e-6)
        assert sum(training.initial_losses) / 8 > 1.001 * learned
    with pytest.raises(InvalidInput, match="holds no weights of DreamBooth"):
        DreamBooth.load_into(None, tmp_path / "transformer")


def test_l_det_is_the_error_of_the_velocity(flow_model, toy_concepts):
    """By hand: from noise and noisy latents follow the latents, and from both what should have been predicted."""
    with Training(flow_model, SVDiff(), toy_concepts[0]) as training:
        inputs = training.fixed_batch.inputs
        times = (inputs.timesteps_b + 1)[:, None, None, None] / TIMESTEPS
        latents = inputs.noisy_latents_bchw - times * inputs.target_bchw  # z - s (n - x) = x
        means = torch.stack([flow_model.encode_images(pixels(image))[0][0] for image in toy_concepts[0].decode()])
        nearest = [(means - latent).square().mean(dim=(1, 2, 3)).argmin().item() for latent in latents]
        assert nearest == list(inputs.images)
        states = flow_model.text_encoder(flow_model.tokenize(inputs.captions))
        velocity = flow_model.denoiser(inputs.noisy_latents_bchw, times.flatten(), states, states[:, -1])
    errors = (velocity - inputs.target_bchw).square().mean(dim=(1, 2, 3))
    assert training.initial_losses == pytest.approx(errors.tolist(), rel=1e-5)


def pixels(image):
    return central_square(image, 32)[None]


def test_training_draws_the_timesteps_of_the_model(flow_model, toy_concepts):
    """Half of uniform timesteps would lie between a quarter and three quarters; of these, 73 % do."""
    drawn = []

    class Noting(SVDiff):
        def loss(self, base, inputs):
            drawn.extend(inputs.timesteps_b.tolist())
            return super().loss(base, inputs)

    with Training(flow_model, Noting(batch_size=400), toy_concepts[0], fixed_batch=None) as training:
        training.step()
    assert sum(25 <= timestep < 75 for timestep in drawn) > 0.65 * len(drawn)


@pytest.mark.parametrize("missing", ["draw_timesteps", "encode_text", "corrupt", "text_readers"])
def test_what_a_new_architecture_must_bring_is_named(missing):
    parts = {name: value for name, value in vars(FlowModel).items() if name != missing and not name.startswith("__")}
    incomplete = type("Incomplete", (BaseModel,), parts)
    with pytest.raises(TypeError, match=missing):
        incomplete()
