"""Measures the miniature on held-out scenes, captions and concepts: python -m trainables.miniature.evaluate.

Every figure is printed with its target; --parts chooses, --sheet draws what was learned.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from trainables.base_model import BaseModel, load
from trainables.concept import Concept
from trainables.errors import InvalidInput
from trainables.methods.textual_inversion import TextualInversion
from trainables.miniature import NUM_VECTORS, concepts, miniature_folder
from trainables.miniature.world.captions import full_caption
from trainables.miniature.world.colours import COLOURS
from trainables.miniature.world.renderer import render_images
from trainables.miniature.world.scenes import make_scene
from trainables.miniature.world.toys import Toy, make_novel_toy, make_toy
from trainables.pictures import PictureRow, figure
from trainables.quality import ClipScorer, QualityProbe, draw_samples
from trainables.quiet import quiet_libraries
from trainables.randomness import derived_seed
from trainables.settings import TRAIN_IMAGE, BaseModelSettings, QualitySettings
from trainables.training import Training

SEED = 1  # of held-out toys, scenes and captions: the training world has streams of its own
COUNT = 256
#: A low rate, so that L_det and the score move smoothly, and a budget after whose first third little is gained.
INVERSION: dict[str, Any] = {"batch_size": 8, "learning_rate": 1e-3, "num_vectors": NUM_VECTORS}
WINDOW_SHARES = [0.01 * share for share in range(1, 45)]  # of the budget; the paper's are 0.05 to 0.44
THRESHOLDS = [0.01 * hundredths for hundredths in range(1, 96)]


@dataclass(frozen=True)
class Figure:
    """One measured value and what it should reach.

    Attributes:
        name: what was measured.
        value: the measurement.
        target: what it should be at least, or at most where `is_ceiling`.
        is_ceiling: whether less is better.
    """

    name: str
    value: float
    target: float
    is_ceiling: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        return self.value <= self.target if self.is_ceiling else self.value >= self.target

    def __str__(self) -> str:
        sign = "<=" if self.is_ceiling else ">="
        return f"{self.name:66s} {self.value:8.3f}   {sign} {self.target:<6g} {'met' if self.is_met else 'MISSED'}"


class Evaluation:
    """Measures one folder of weights.

    Args:
        folder: as the pretraining exports it.
        device: where to compute.
        count: held-out scenes and captions.
        samples: settings by which samples are drawn.
    """

    def __init__(self, folder: Path, device: torch.device, count: int, samples: QualitySettings) -> None:
        from transformers import ViTModel

        self._base = load(folder, BaseModelSettings(str(folder)), device)
        self._scorer = ClipScorer(str(folder / "clip"), device)
        self._dino = ViTModel.from_pretrained(folder / "dino", dtype=torch.float32, add_pooling_layer=False).to(device)
        self._device, self._samples = device, samples
        self._toys = [make_toy(derived_seed(SEED, "held-out toy", str(i))) for i in range(count)]
        self._scenes = [make_scene(derived_seed(SEED, "held-out scene", str(i))) for i in range(count)]
        self._images = render_images(self._toys, self._scenes, device=device)

    def vae(self) -> Iterator[Figure]:
        """Peak signal-to-noise ratio of reconstructions, mean over images."""
        yield Figure("VAE: PSNR of held-out images, dB", self._psnr(self._images), 32)
        novel = [make_novel_toy(derived_seed(SEED, "novel", str(i))) for i in range(len(self._toys) // 4)]
        yield Figure(
            "VAE: PSNR of unseen colours, dB",
            self._psnr(render_images(novel, self._scenes[: len(novel)], device=self._device)),
            30,
        )

    @torch.no_grad()
    def _psnr(self, images: Sequence[Image.Image]) -> float:
        ratios = []
        for image in images:
            pixels = self._base.preprocess(image)[None].to(self._device)
            restored = self._base.vae.decode(self._base.vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
            ratios.append(-10 * math.log10(((restored - pixels) / 2).square().mean().item()))
        return sum(ratios) / len(ratios)

    def clip(self) -> Iterator[Figure]:
        """Share of images for which the right one of all captions scores highest."""
        share, _ = self._retrieval(self._images)
        yield Figure(f"CLIP: right caption among {len(self._images)}", share, 0.98)

    def _retrieval(self, images: list[Image.Image]) -> tuple[float, float]:
        """Return the share of images that find their own caption, and their mean score with it."""
        captions = [full_caption(toy, scene) for toy, scene in zip(self._toys, self._scenes, strict=True)]
        scores = self._scorer.embed_images(images) @ self._scorer.embed_texts(captions).T
        # Two scenes may have the same caption by chance: either is right.
        best = [captions[i] for i in scores.argmax(dim=1).tolist()]
        right = sum(found == own for found, own in zip(best, captions, strict=True))
        return right / len(images), scores.diagonal().mean().item()

    @torch.no_grad()
    def identity(self) -> Iterator[Figure]:
        """Share of concept images whose nearest other image, by the identity network, shows the same concept."""
        found = concepts.load(concepts.TUNING)
        images = [image for concept in found for image in concept.decode()]
        owners = torch.tensor([index for index, concept in enumerate(found) for _ in concept.images])
        pixels = torch.stack([self._base.preprocess(image) for image in images]).to(self._device)
        vectors = F.normalize(self._dino(pixel_values=pixels).last_hidden_state[:, 0], dim=-1).cpu()
        scores = (vectors @ vectors.T).fill_diagonal_(-2)
        yield Figure(
            "DINO: nearest image shows the same concept",
            (owners[scores.argmax(dim=1)] == owners).float().mean().item(),
            0.9,
        )

    def text_to_image(self) -> Iterator[Figure]:
        """How well samples of held-out captions show what their captions say."""
        captions = [full_caption(toy, scene) for toy, scene in zip(self._toys, self._scenes, strict=True)]
        drawn = self.sample(captions)
        share, score = self._retrieval(drawn)
        _, real = self._retrieval(self._images)
        yield Figure("samples: CLIP text score, share of the real renders'", score / real, 0.98)
        yield Figure(f"samples: right caption among {len(drawn)}", share, 0.97)
        yield Figure("samples: floor colour right", self._floors(drawn), 0.95)

    def sample(self, prompts: Sequence[str]) -> list[Image.Image]:
        """Draw one sample a prompt, each from noise of its own."""
        images: list[Image.Image] = []
        pipeline = self._base.pipeline()
        for start in range(0, len(prompts), 32):
            part = prompts[start : start + 32]
            seeds = [derived_seed(SEED, "sample", str(start + i)) for i in range(len(part))]
            images += draw_samples(pipeline, part, seeds, self._base.resolution, self._samples)
        return images

    def _floors(self, images: Sequence[Image.Image]) -> float:
        """Return the share of rooms whose floor has its caption's colour rather than another one, read from pixels."""
        names = list(COLOURS)
        bare = Toy("robot", (), ((0, 0, 0), (0, 0, 0)))
        rooms = [
            make_scene(derived_seed(SEED, "floor", str(i)), floor=names[i % len(names)]) for i in range(8 * len(names))
        ]
        seen = torch.stack([_floor(image) for image in render_images([bare] * len(rooms), rooms, device=self._device)])
        references = seen.view(8, len(names), 3).mean(dim=0)
        right = [
            names[int((references - _floor(image)).square().sum(dim=1).argmin())] == scene.floor_name
            for image, scene in zip(images, self._scenes, strict=True)
            if scene.floor_name
        ]
        return sum(right) / len(right)

    def inversion(
        self, names: Sequence[str], budget: int, every: int, say: Callable[[str], None]
    ) -> tuple[list[Figure], list["Course"]]:
        """Personalize concepts by Textual Inversion, and measure what L_det tells of it."""
        courses = []
        for concept in concepts.load(names):
            begun = time.monotonic()
            course = personalize(self._base, self._scorer, concept, budget, every, self._samples)
            courses.append(course)
            say(f"{course} ({time.monotonic() - begun:.0f} s)")
        return [*_figures(courses)], courses


def _floor(image: Image.Image) -> Tensor:
    """Return the mean colour of the two lower corners, 0..1."""
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3) / 255
    lower, side = image.height - image.height // 12, image.width // 8
    return torch.cat([pixels[lower:, :side].reshape(-1, 3), pixels[lower:, -side:].reshape(-1, 3)]).mean(dim=0)


@dataclass(frozen=True)
class Course:
    """What one personalization went through.

    Attributes:
        concept: what was learned.
        l_det, train_loss: of every step.
        steps: of the snapshots, from 0.
        scores: CLIP image score of the training prompt's samples at each snapshot.
        real: the score of the concept's images among themselves.
        images: the samples of each snapshot, those of the training prompt first.
    """

    concept: Concept
    l_det: Tensor
    train_loss: Tensor
    steps: list[int]
    scores: Tensor
    real: float
    images: list[list[Image.Image]]

    @property
    def covered(self) -> float:
        """Share of the way from the first score to the real images' that the last score has gone."""
        return ((self.scores[-1] - self.scores[0]) / (self.real - self.scores[0])).item()

    def correlation(self, series: Tensor) -> float:
        """Pearson's correlation of a series with the score, at the snapshots after the first."""
        at = torch.tensor(self.steps[1:]) - 1
        return torch.corrcoef(torch.stack([series[at], self.scores[1:].double()]))[0, 1].item()

    def snapshot(self, step: int) -> int:
        """Index of the last snapshot before or at a step."""
        return max(i for i, at in enumerate(self.steps) if at <= step)

    def kept(self, step: int) -> float:
        """Share of the best score that the last snapshot before or at a step has."""
        return (self.scores[self.snapshot(step)] / self.scores.max()).item()

    def __str__(self) -> str:
        return (
            f"{self.concept.name:11s} score {self.scores[0]:.3f} -> {self.scores[-1]:.3f} (real {self.real:.3f}), "
            f"covered {self.covered:.2f}; correlation of L_det {self.correlation(self.l_det):+.2f}, "
            f"of the training loss {self.correlation(self.train_loss):+.2f}"
        )


def personalize(
    base: BaseModel, scorer: ClipScorer, concept: Concept, budget: int, every: int, settings: QualitySettings
) -> Course:
    """Run Textual Inversion for a whole budget, with a snapshot every few steps."""
    training = Training(base, TextualInversion(**INVERSION), concept)
    try:
        probe = QualityProbe(base, concept, settings, scorer)
        snapshots = [(0, *probe.measure())]
        rows = []
        for step in range(1, budget + 1):
            rows.append(training.step())
            if step % every == 0 or step == budget:
                snapshots.append((step, *probe.measure()))
    finally:
        training.close()
    vectors = scorer.embed_images(concept.decode())
    count = len(vectors)
    real = ((vectors @ vectors.T).sum() - count) / (count * (count - 1))
    return Course(
        concept=concept,
        l_det=torch.tensor([row.l_det for row in rows], dtype=torch.float64),
        train_loss=torch.tensor([row.train_loss for row in rows], dtype=torch.float64),
        steps=[step for step, _, _ in snapshots],
        scores=torch.tensor([scores[TRAIN_IMAGE] for _, scores, _ in snapshots]),
        real=real.item(),
        images=[images for _, _, images in snapshots],
    )


def _figures(courses: Sequence[Course]) -> Iterator[Figure]:
    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    yield Figure("inversion: share of the way to the real images' score", mean([c.covered for c in courses]), 0.8)
    with_l_det = mean([c.correlation(c.l_det) for c in courses])
    yield Figure("inversion: correlation of L_det with the score", with_l_det, -0.7, is_ceiling=True)
    with_loss = abs(mean([c.correlation(c.train_loss) for c in courses]))
    yield Figure("inversion: correlation of the training loss, absolute", with_loss, 0.3, is_ceiling=True)
    window, threshold, share, kept = best_stop(courses)
    name = f"inversion: DVAR(N={window}, alpha={threshold:g})"
    yield Figure(f"{name}: share of the budget", share, 0.4, is_ceiling=True)
    yield Figure(f"{name}: share of the best score", kept, 0.95)


def best_stop(courses: Sequence[Course]) -> tuple[int, float, float, float]:
    """Return the earliest of many DVAR settings that keeps 95 % of the best score, else the one that keeps most.

    Returns:
        Window, threshold, mean share of the budget, mean share of the best score.
    """
    found = []
    for window in sorted({max(2, round(share * len(courses[0].l_det))) for share in WINDOW_SHARES}):
        ratios = [variance_ratios(course.l_det, window) for course in courses]
        for threshold in THRESHOLDS:
            stops = [first_stop(ratio, window, threshold) for ratio in ratios]
            share = sum(stop / len(c.l_det) for stop, c in zip(stops, courses, strict=True)) / len(courses)
            kept = sum(course.kept(stop) for stop, course in zip(stops, courses, strict=True)) / len(courses)
            found.append((window, threshold, share, kept))
    good = [one for one in found if one[3] >= 0.95]
    return min(good, key=lambda one: one[2]) if good else max(found, key=lambda one: one[3])


def variance_ratios(values: Tensor, window: int) -> Tensor:
    """Return the variance of the last `window` values over that of all so far, for every step after the window."""
    centred = values - values.mean()  # squares of values far from zero would cancel
    sums = F.pad(torch.stack([centred, centred**2]).cumsum(dim=1), (1, 0))
    steps = torch.arange(window + 1, len(values) + 1)

    def variance(total: Tensor, count: Tensor | int) -> Tensor:
        variances: Tensor = total[1] / count - (total[0] / count) ** 2
        return variances

    return variance(sums[:, steps] - sums[:, steps - window], window) / variance(sums[:, steps], steps)


def first_stop(ratios: Tensor, window: int, threshold: float) -> int:
    """Return the step at which DVAR stops, the last one if it never does (paper, equation 4)."""
    fired = (ratios < threshold).nonzero()
    return window + 1 + int(fired[0]) if len(fired) else window + len(ratios)


def sheet(courses: Sequence[Course]) -> Image.Image:
    """Draw per concept its images, samples before, at DVAR's stop and at the end, and samples of validation prompts."""
    window, threshold, _, _ = best_stop(courses)
    columns = {"the concept": 4, "before": 3, "at the stop": 4, "at the full budget": 4, "new contexts, at the stop": 4}
    rows = []
    for course in courses:
        stop = first_stop(variance_ratios(course.l_det, window), window, threshold)
        index = course.snapshot(stop)
        half = len(course.images[0]) // 2
        groups = (
            course.concept.decode(),
            course.images[0],
            course.images[index],
            course.images[-1],
            course.images[index][half:],
        )
        notes = {"at the stop": f"step {stop}", "at the full budget": f"step {course.steps[-1]}"}
        rows.append(PictureRow(course.concept.class_noun, dict(zip(columns, groups, strict=True)), notes))
    return figure(rows, columns)


def main() -> None:
    """Parse the command line, and measure."""
    parser = argparse.ArgumentParser(prog="python -m trainables.miniature.evaluate", description=__doc__)
    parts = ("vae", "clip", "identity", "samples", "inversion")
    parser.add_argument("--weights", type=Path, help="folder of weights (default: the embedded ones)")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="what to measure (default: all)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where to compute")
    parser.add_argument("--count", type=int, default=COUNT, help=f"held-out images (default {COUNT})")
    parser.add_argument("--steps", type=int, default=10, help="DDIM steps of a sample (default 10)")
    parser.add_argument("--guidance", type=float, default=3.0, help="classifier-free guidance of samples (default 3)")
    parser.add_argument("--concepts", nargs="+", default=concepts.TUNING, help="to invert (default: the tuning ones)")
    parser.add_argument("--budget", type=int, default=1000, help="steps of an inversion (default 1000)")
    parser.add_argument("--every", type=int, default=50, help="steps between its snapshots (default 50)")
    parser.add_argument("--samples", type=int, default=12, help="samples of a snapshot (default 12)")
    parser.add_argument("--sheet", type=Path, help="write a picture of what was learned here")
    arguments = parser.parse_args()
    if arguments.sheet and "inversion" not in arguments.parts:
        parser.error("--sheet shows what --parts inversion has learned; add that part")
    quiet_libraries()
    try:
        _report(arguments)
    except InvalidInput as error:
        parser.error(str(error))


def _report(arguments: Any) -> None:
    def say(line: object) -> None:
        print(line, flush=True)

    settings = QualitySettings(
        samples=arguments.samples, inference_steps=arguments.steps, guidance_scale=arguments.guidance
    )
    folder = arguments.weights or miniature_folder()
    evaluation = Evaluation(folder, torch.device(arguments.device), arguments.count, settings)
    measured = {
        "vae": evaluation.vae,
        "clip": evaluation.clip,
        "identity": evaluation.identity,
        "samples": evaluation.text_to_image,
    }
    for part, measure in measured.items():
        if part in arguments.parts:
            for one in measure():
                say(one)
    if "inversion" in arguments.parts:
        figures, courses = evaluation.inversion(arguments.concepts, arguments.budget, arguments.every, say)
        for one in figures:
            say(one)
        if arguments.sheet:
            sheet(courses).save(arguments.sheet)
            say(f"written to {arguments.sheet}")


if __name__ == "__main__":
    main()
