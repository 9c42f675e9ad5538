"""Quality scores: each against a sum by hand, on samples and embeddings that are known."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from trainables.data.concept import Concept, concept_from_images
from trainables.quality import clip
from trainables.quality.clip import ClipScorer, QualityProbe
from trainables.settings import QualitySettings

#: Unit vectors by the colour of an image: two references, then samples of the training and the validation prompts.
EMBEDDINGS = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.6, 0.8, 0.0),
    "blue": (0.0, 1.0, 0.0),
    "yellow": (0.8, 0.6, 0.0),
    "white": (1.0, 0.0, 0.0),
    "black": (0.0, 0.0, 1.0),
    "gray": (0.6, 0.0, 0.8),
    "purple": (0.0, 0.6, 0.8),
}
TEXTS = {"a cup in the snow": (0.0, 0.0, 1.0), "a cup on sand": (0.8, 0.0, 0.6)}
#: What the pipeline draws at a prompt, in turn; three samples are spread over two validation prompts.
DRAWN = {
    "a photo of a {}": ("blue", "yellow", "white"),
    "a {} in the snow": ("black", "purple"),
    "a {} on sand": ("gray",),
}
SETTINGS = QualitySettings(samples=3, inference_steps=7, guidance_scale=4.0, seed=11)


def square(colour):
    return Image.new("RGB", (8, 8), colour)


class KnownScorer:
    """Looks embeddings up; a text that it does not know is an error."""

    def __init__(self, clock):
        self.clock = clock

    def embed_images(self, images):
        self.clock.now += 1
        by_pixel = {square(colour).getpixel((0, 0)): vector for colour, vector in EMBEDDINGS.items()}
        return torch.tensor([by_pixel[image.getpixel((4, 4))] for image in images])

    def embed_texts(self, texts):
        return torch.tensor([TEXTS[text] for text in texts])


class KnownBase:
    """A base model whose pipeline draws known images, and notes what it was asked for."""

    resolution = 8

    def __init__(self, clock, phrase):
        self.clock, self.calls, self.tokenized = clock, [], []
        self.drawn = {prompt.format(phrase): colours for prompt, colours in DRAWN.items()}

    def tokenize(self, captions):
        self.tokenized += captions

    def pipeline(self):
        return self.draw

    def draw(self, prompts, *, generator, **options):
        self.clock.now += 10 * len(set(prompts))
        self.calls.append((prompts, [stream.initial_seed() for stream in generator], options))
        colours = {prompt: iter(self.drawn[prompt]) for prompt in prompts}
        return SimpleNamespace(images=[square(next(colours[prompt])) for prompt in prompts])


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where a fake says so."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(clip.time, "perf_counter", lambda: clock.now)
    return clock


@pytest.fixture
def make_probe(clock):
    def make(phrase=None, settings=SETTINGS, prompts=("a {} in the snow", "a {} on sand")):
        images = concept_from_images("mug", "cup", [square("red"), square("green")]).images
        concept = Concept("mug", "cup", "<mug>", images, prompts)
        base = KnownBase(clock, phrase or "<mug>")
        return QualityProbe(base, concept, settings, KnownScorer(clock), phrase), base

    return make


def test_each_score_is_the_mean_of_its_own_cosines(make_probe):
    """Images against every reference; texts each against the sample of its own prompt."""
    probe, _ = make_probe()
    assert probe.measure().scores == {
        # blue 0 and 0.8, yellow 0.8 and 0.96, white 1 and 0.6
        "train_clip_image": pytest.approx((0 + 0.8 + 0.8 + 0.96 + 1 + 0.6) / 6),
        # black 0 and 0, gray 0.6 and 0.36, purple 0 and 0.48
        "val_clip_image": pytest.approx((0 + 0 + 0.6 + 0.36 + 0 + 0.48) / 6),
        # black in the snow 1, gray on sand 0.48 + 0.48, purple in the snow 0.8
        "val_clip_text": pytest.approx((1 + 0.96 + 0.8) / 3),
    }


@pytest.mark.parametrize("phrase", [None, "sks cup"])
def test_samples_are_drawn_with_the_phrase_and_scored_with_the_class_noun(make_probe, phrase):
    """The fake scorer knows no other texts than those with the class noun."""
    probe, base = make_probe(phrase)
    word = phrase or "<mug>"
    train, validation = (
        [f"a photo of a {word}"] * 3,
        [f"a {word} in the snow", f"a {word} on sand", f"a {word} in the snow"],
    )
    assert base.tokenized == [train[0], *validation]  # a prompt that is too long is refused before anything trains
    scores = probe.measure().scores
    assert [prompts for prompts, *_ in base.calls] == [train, validation]
    assert scores["val_clip_text"] == pytest.approx(0.92)


def test_the_settings_reach_the_pipeline(make_probe):
    probe, base = make_probe()
    probe.measure()
    expected = {"height": 8, "width": 8, "num_inference_steps": 7, "guidance_scale": 4.0}
    assert [options for *_, options in base.calls] == [expected, expected]


def test_every_snapshot_starts_from_the_same_noise_and_every_sample_from_another(make_probe):
    probe, base = make_probe()
    probe.measure()
    torch.rand(5)  # training goes on in between
    probe.measure()
    seeds = [seeds for _, seeds, _ in base.calls]
    assert seeds[:2] == seeds[2:]
    assert len({*seeds[0], *seeds[1]}) == 6
    other, other_base = make_probe(settings=QualitySettings(samples=3, seed=12))
    other.measure()
    assert not {*seeds[0], *seeds[1]} & {seed for _, seeds, _ in other_base.calls for seed in seeds}


def test_seconds_are_those_of_drawing_and_scoring(make_probe):
    """The pipeline takes 10 s for every prompt, the scorer 1 s for every batch of images."""
    probe, _ = make_probe()
    assert probe.measure().seconds == {"train": 11, "val": 21}


def test_samples_of_the_training_prompt_come_first(make_probe):
    probe, _ = make_probe()
    colours = ("blue", "yellow", "white", "black", "gray", "purple")
    assert [image.tobytes() for image in probe.measure().images] == [square(colour).tobytes() for colour in colours]


def test_without_validation_prompts_no_such_score_is_measured(make_probe):
    probe, _ = make_probe(prompts=())
    measured = probe.measure()
    assert measured.scores == {"train_clip_image": pytest.approx(4.16 / 6)}
    assert (measured.seconds, len(measured.images)) == ({"train": 11}, 3)


def test_embeddings_are_clips_own_at_length_1(tiny_path):
    folder = tiny_path / "clip"
    scorer = ClipScorer(str(folder), torch.device("cpu"))
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    images, texts = [square("red"), square("blue")], ["a red cup", "a photo of a robot"]
    pixels = CLIPImageProcessor.from_pretrained(folder)(images=images, return_tensors="pt")["pixel_values"]
    tokens = CLIPTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        whole = model(pixel_values=pixels, **tokens)
    assert torch.allclose(scorer.embed_images(images), whole.image_embeds, atol=1e-3)
    assert torch.allclose(scorer.embed_texts(texts), whole.text_embeds, atol=1e-3)
    assert torch.allclose(scorer.embed_texts(texts).norm(dim=1), torch.ones(2))
