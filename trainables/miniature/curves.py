"""Training curves: the miniature's concepts learned over the whole budget, with L_det and quality along the way."""

import functools
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from PIL import Image
from torch import Tensor

from trainables.data.concept import Concept
from trainables.methods import MethodSpec
from trainables.methods.base import Method
from trainables.miniature import concepts
from trainables.miniature.metrics import Metric
from trainables.miniature.recipes import Recipe
from trainables.models.base import BaseModel
from trainables.models.quiet import quiet_libraries
from trainables.models.stable_diffusion import load
from trainables.quality.clip import ClipScorer, QualityProbe
from trainables.settings import TRAIN_IMAGE, BaseModelSettings, QualitySettings
from trainables.training.training import Training


@dataclass(frozen=True)
class TrainingCurve:
    """The losses and the quality of a personalization over its whole budget.

    Attributes:
        concept: the concept that was learned.
        l_det: deterministic loss after each step, shape (steps,).
        train_loss: stochastic loss of each step, shape (steps,).
        steps: step of each snapshot, the first 0.
        scores: CLIP image score of the training prompt's samples, shape (snapshots,).
        real: CLIP image score of the concept's images among themselves.
        images: samples of each snapshot, those of the training prompt first.
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
        """Share of the distance between the first score and the real images' that the last score has covered."""
        return ((self.scores[-1] - self.scores[0]) / (self.real - self.scores[0])).item()

    def correlation(self, series: Tensor) -> float:
        """Return Pearson's correlation of a series, shape (steps,), with the score at the snapshots after the first."""
        at = torch.tensor(self.steps[1:]) - 1
        return torch.corrcoef(torch.stack([series[at], self.scores[1:].double()]))[0, 1].item()

    def snapshot(self, step: int) -> int:
        """Return the index of the last snapshot at or before a step."""
        return max(i for i, at in enumerate(self.steps) if at <= step)

    def kept(self, step: int) -> float:
        """Return the score of the last snapshot at or before a step, as a share of the best score."""
        return (self.scores[self.snapshot(step)] / self.scores.max()).item()

    def __str__(self) -> str:
        return (
            f"{self.concept.name:11s} score {self.scores[0]:.3f} -> {self.scores[-1]:.3f} (real {self.real:.3f}), "
            f"covered {self.covered:.2f}; correlation of L_det {self.correlation(self.l_det):+.2f}, "
            f"of the training loss {self.correlation(self.train_loss):+.2f}"
        )


@dataclass(frozen=True)
class Task:
    """What all curves of a method share; small enough to be sent to other processes.

    Attributes:
        folder: the miniature's weights.
        device: "cpu" or "cuda".
        method: name of a built-in method.
        recipe: the method's settings, budget and interval of snapshots.
        samples: how samples are drawn.
    """

    folder: Path
    device: str
    method: str
    recipe: Recipe
    samples: QualitySettings

    def make_method(self) -> Method:
        """Return a new, unattached instance of the method with the recipe's settings."""
        return MethodSpec(f"trainables.methods.{self.method}", self.recipe.settings)()


def learn(task: Task, names: Sequence[str], workers: int) -> Iterator[TrainingCurve]:
    """Learn concepts in parallel, each in a single-threaded process; yield their curves in order.

    Args:
        task: which method, and its settings.
        names: names of the miniature's concepts.
        workers: number of processes; 1 stays in this process and uses all its threads.
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
    """Learn a concept over the recipe's whole budget, with a snapshot at regular intervals.

    Args:
        base: the base model; unchanged afterwards.
        scorer: the CLIP that scores samples.
        concept: the concept to learn.
        method: an unattached method.
        recipe: its budget and interval; the method already has the recipe's settings.
        settings: how samples are drawn.
    """
    with Training(base, method, concept) as training:
        probe = QualityProbe(base, concept, settings, scorer, method.phrase_for(concept))
        snapshots = [(0, probe.measure())]
        rows = []
        for step in range(1, recipe.budget + 1):
            rows.append(training.step())
            if step % recipe.every == 0 or step == recipe.budget:
                snapshots.append((step, probe.measure()))
    return TrainingCurve(
        concept=concept,
        l_det=torch.tensor([row.l_det for row in rows], dtype=torch.float64),
        train_loss=torch.tensor([row.train_loss for row in rows], dtype=torch.float64),
        steps=[step for step, _ in snapshots],
        scores=torch.tensor([measured.scores[TRAIN_IMAGE] for _, measured in snapshots]),
        real=_mutual_score(scorer, concept),
        images=[measured.images for _, measured in snapshots],
    )


def _mutual_score(scorer: ClipScorer, concept: Concept) -> float:
    """Return the mean CLIP image score over all pairs of a concept's images."""
    vectors = scorer.embed_images(concept.decode())
    count = len(vectors)
    return (((vectors @ vectors.T).sum() - count) / (count * (count - 1))).item()


def learning_metrics(curves: Sequence[TrainingCurve], method: str) -> Iterator[Metric]:
    """Yield how far a method learned its concepts, and how well either loss follows the score.

    Args:
        curves: a curve per concept.
        method: name of the method, for the metrics' names.
    """
    yield Metric(f"{method}: share of the way to the real images' score", fmean(c.covered for c in curves), 0.8)
    with_l_det = fmean(c.correlation(c.l_det) for c in curves)
    yield Metric(f"{method}: correlation of L_det with the score", with_l_det, -0.7, is_ceiling=True)
    with_loss = abs(fmean(c.correlation(c.train_loss) for c in curves))
    yield Metric(f"{method}: correlation of the training loss, absolute", with_loss, 0.3, is_ceiling=True)
