"""TrainingCurve: a personalization of the miniature over its whole budget, and what L_det tells of it."""

import functools
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from trainables.data.concept import Concept
from trainables.methods import MethodSpec
from trainables.methods.base import Method
from trainables.miniature import concepts
from trainables.miniature.recipes import Recipe
from trainables.models.base import BaseModel
from trainables.models.quiet import quiet_libraries
from trainables.models.stable_diffusion import load
from trainables.quality.clip import ClipScorer, QualityProbe
from trainables.settings import TRAIN_IMAGE, BaseModelSettings, QualitySettings
from trainables.training.training import Training


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
