"""Courses: personalizations of the miniature over their whole budget, and what L_det tells of each."""

import functools
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from trainables.data.concept import Concept
from trainables.methods import MethodSpec
from trainables.methods.base import Method
from trainables.miniature import concepts
from trainables.miniature.figures import Figure
from trainables.miniature.recipes import Recipe
from trainables.models.base import BaseModel
from trainables.models.quiet import quiet_libraries
from trainables.models.stable_diffusion import load
from trainables.quality.clip import ClipScorer, QualityProbe
from trainables.quality.pictures import PictureRow, figure
from trainables.settings import TRAIN_IMAGE, BaseModelSettings, QualitySettings
from trainables.training.training import Training

WINDOW_SHARES = [0.01 * share for share in range(1, 45)]  # of the budget; the paper's are 0.05 to 0.44
THRESHOLDS = [0.01 * hundredths for hundredths in range(1, 96)]


@dataclass(frozen=True)
class TrainingCurve:
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


@dataclass(frozen=True)
class Task:
    """What every curve of one method has in common; small enough to travel to other processes.

    Attributes:
        folder: the miniature's weights.
        device: "cpu" or "cuda".
        method: its name among the built-in ones.
        recipe: its settings, budget and snapshots.
        samples: how samples are drawn.
    """

    folder: Path
    device: str
    method: str
    recipe: Recipe
    samples: QualitySettings

    def make_method(self) -> Method:
        """Return a fresh method."""
        return MethodSpec(f"trainables.methods.{self.method}", self.recipe.settings)()


def learn(task: Task, names: Sequence[str], workers: int) -> Iterator[TrainingCurve]:
    """Learn concepts, some at once, each in a process of its own with one thread; yield them in order.

    Args:
        task: by what method, and how.
        names: of the miniature's concepts.
        workers: processes; 1 works in this one, with all its threads.
    """
    if workers == 1:
        yield from (_learn(task, name) for name in names)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _with_one_thread) as pool:
        yield from pool.map(functools.partial(_learn, task), names)


def _with_one_thread() -> None:
    torch.set_num_threads(1)
    quiet_libraries()


@functools.cache
def _models(folder: Path, device: str) -> tuple[BaseModel, ClipScorer]:
    where = torch.device(device)
    return load(folder, BaseModelSettings(str(folder)), where), ClipScorer(str(folder / "clip"), where)


def _learn(task: Task, name: str) -> TrainingCurve:
    base, scorer = _models(task.folder, task.device)
    (concept,) = concepts.load([name])
    return personalize(base, scorer, concept, task.make_method(), task.recipe, task.samples)


def personalize(
    base: BaseModel, scorer: ClipScorer, concept: Concept, method: Method, recipe: Recipe, settings: QualitySettings
) -> TrainingCurve:
    """Learn a concept over the recipe's whole budget, with a snapshot every few steps."""
    with Training(base, method, concept) as training:
        probe = QualityProbe(base, concept, settings, scorer, method.phrase_for(concept))
        snapshots = [(0, probe.measure())]
        rows = []
        for step in range(1, recipe.budget + 1):
            rows.append(training.step())
            if step % recipe.every == 0 or step == recipe.budget:
                snapshots.append((step, probe.measure()))
    vectors = scorer.embed_images(concept.decode())
    count = len(vectors)
    real = ((vectors @ vectors.T).sum() - count) / (count * (count - 1))
    return TrainingCurve(
        concept=concept,
        l_det=torch.tensor([row.l_det for row in rows], dtype=torch.float64),
        train_loss=torch.tensor([row.train_loss for row in rows], dtype=torch.float64),
        steps=[step for step, _ in snapshots],
        scores=torch.tensor([measured.scores[TRAIN_IMAGE] for _, measured in snapshots]),
        real=real.item(),
        images=[measured.images for _, measured in snapshots],
    )


def figures(curves: Sequence[TrainingCurve], method: str) -> Iterator[Figure]:
    """Measure what L_det tells of a method's curves; the targets are those of the miniature's own check."""

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    yield Figure(f"{method}: share of the way to the real images' score", mean([c.covered for c in curves]), 0.8)
    with_l_det = mean([c.correlation(c.l_det) for c in curves])
    yield Figure(f"{method}: correlation of L_det with the score", with_l_det, -0.7, is_ceiling=True)
    with_loss = abs(mean([c.correlation(c.train_loss) for c in curves]))
    yield Figure(f"{method}: correlation of the training loss, absolute", with_loss, 0.3, is_ceiling=True)
    window, threshold, share, kept = best_stop(curves)
    name = f"{method}: DVAR(N={window}, alpha={threshold:g})"
    yield Figure(f"{name}: share of the budget", share, 0.4, is_ceiling=True)
    yield Figure(f"{name}: share of the best score", kept, 0.95)


def best_stop(curves: Sequence[TrainingCurve]) -> tuple[int, float, float, float]:
    """Return the earliest of many DVAR settings that keeps 95 % of the best score, else the one that keeps most.

    Returns:
        Window, threshold, mean share of the budget, mean share of the best score.
    """
    found = []
    for window in sorted({max(2, round(share * len(curves[0].l_det))) for share in WINDOW_SHARES}):
        ratios = [variance_ratios(curve.l_det, window) for curve in curves]
        for threshold in THRESHOLDS:
            stops = [first_stop(ratio, window, threshold) for ratio in ratios]
            share = sum(stop / len(c.l_det) for stop, c in zip(stops, curves, strict=True)) / len(curves)
            kept = sum(curve.kept(stop) for stop, curve in zip(stops, curves, strict=True)) / len(curves)
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


def sheet(curves: Sequence[TrainingCurve]) -> Image.Image:
    """Draw per concept its images, samples before, at DVAR's stop and at the end, and samples of validation prompts."""
    window, threshold, _, _ = best_stop(curves)
    columns = {"the concept": 4, "before": 3, "at the stop": 4, "at the full budget": 4, "new contexts, at the stop": 4}
    rows = []
    for curve in curves:
        stop = first_stop(variance_ratios(curve.l_det, window), window, threshold)
        index = curve.snapshot(stop)
        half = len(curve.images[0]) // 2
        groups = (
            curve.concept.decode(),
            curve.images[0],
            curve.images[index],
            curve.images[-1],
            curve.images[index][half:],
        )
        notes = {"at the stop": f"step {stop}", "at the full budget": f"step {curve.steps[-1]}"}
        rows.append(PictureRow(curve.concept.class_noun, dict(zip(columns, groups, strict=True)), notes))
    return figure(rows, columns)
