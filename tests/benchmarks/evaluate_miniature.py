"""Measures the miniature on held-out scenes, captions and concepts: python tests/benchmarks/evaluate_miniature.py.

Every metric is printed with its target. --parts chooses what to measure; --sheet draws what was learned. All of it
takes an hour on two cores.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from orchestrator.criteria.dvar import first_stops
from trainables.errors import InvalidInput
from trainables.miniature import miniature_folder
from trainables.miniature.curves import Task, TrainingCurve, learn, learning_metrics
from trainables.miniature.entries import TUNING
from trainables.miniature.evaluate import WeightsEvaluator
from trainables.miniature.metrics import Metric
from trainables.miniature.recipes import RECIPES
from trainables.models.quiet import quiet_libraries
from trainables.quality.pictures import PictureRow, figure
from trainables.settings import QualitySettings

COUNT = 256
WINDOW_SHARES = [0.01 * share for share in range(1, 45)]  # of the budget; the paper's are 0.05 to 0.44
THRESHOLDS = [0.01 * hundredths for hundredths in range(1, 96)]
QUALITY_KEPT = 0.95
COLUMNS = {"the concept": 4, "before": 3, "at the stop": 4, "at the full budget": 4, "new contexts, at the stop": 4}
CURVES = "curves"
PARTS: Mapping[str, Callable[[WeightsEvaluator], Iterator[Metric]]] = {
    "vae": WeightsEvaluator.vae,
    "clip": WeightsEvaluator.clip,
    "identity": WeightsEvaluator.identity,
    "samples": WeightsEvaluator.text_to_image,
}


@dataclass(frozen=True)
class DvarOutcome:
    """A setting of DVAR and what it does to training curves, as means over them.

    Attributes:
        window: N, in steps.
        threshold: alpha.
        budget_used: step of the stop, as a share of the budget.
        quality_kept: score at the stop, as a share of the best score.
    """

    window: int
    threshold: float
    budget_used: float
    quality_kept: float


def stop_steps(curve: TrainingCurve, windows: Sequence[int], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Return the step at which each setting of DVAR stops, the last step where it never does.

    Args:
        curve: whose L_det is watched.
        windows: N, in steps.
        thresholds: alpha.

    Returns:
        1-based steps, shape (windows, thresholds).
    """
    stops = first_stops(curve.l_det.numpy(), windows, thresholds)
    return np.where(stops == 0, len(curve.l_det), stops)


def best_stop(curves: Sequence[TrainingCurve]) -> DvarOutcome:
    """Return the earliest of 4,180 DVAR settings that keeps 95 % of the best score, or else the best-keeping setting.

    Args:
        curves: of equal length; windows are shares of it.
    """
    windows = sorted({max(2, round(share * len(curves[0].l_det))) for share in WINDOW_SHARES})
    grids = [stop_steps(curve, windows, THRESHOLDS) for curve in curves]
    outcomes = [
        _outcome(curves, window, threshold, [int(grid[row, column]) for grid in grids])
        for row, window in enumerate(windows)
        for column, threshold in enumerate(THRESHOLDS)
    ]
    if good := [outcome for outcome in outcomes if outcome.quality_kept >= QUALITY_KEPT]:
        return min(good, key=lambda outcome: outcome.budget_used)
    return max(outcomes, key=lambda outcome: outcome.quality_kept)


def _outcome(curves: Sequence[TrainingCurve], window: int, threshold: float, stops: Sequence[int]) -> DvarOutcome:
    pairs = list(zip(curves, stops, strict=True))
    budget_used = sum(stop / len(curve.l_det) for curve, stop in pairs) / len(pairs)
    quality_kept = sum(curve.kept(stop) for curve, stop in pairs) / len(pairs)
    return DvarOutcome(window, threshold, budget_used, quality_kept)


def dvar_metrics(curves: Sequence[TrainingCurve], method: str) -> Iterator[Metric]:
    """Yield how early the best setting of DVAR stops a method's curves, and what quality it keeps."""
    best = best_stop(curves)
    name = f"{method}: DVAR(N={best.window}, alpha={best.threshold:g})"
    yield Metric(f"{name}: share of the budget", best.budget_used, 0.4, is_ceiling=True)
    yield Metric(f"{name}: share of the best score", best.quality_kept, QUALITY_KEPT)


def sheet(curves: Sequence[TrainingCurve]) -> Image.Image:
    """Draw each concept's images, and its samples before training, at DVAR's stop, at the end and in new contexts."""
    best = best_stop(curves)
    stops = [int(stop_steps(curve, [best.window], [best.threshold])[0, 0]) for curve in curves]
    return figure([_row(curve, stop) for curve, stop in zip(curves, stops, strict=True)], COLUMNS)


def _row(curve: TrainingCurve, stop: int) -> PictureRow:
    at_stop = curve.images[curve.snapshot(stop)]
    in_contexts = at_stop[len(curve.images[0]) // 2 :]  # validation prompts' samples follow the training prompt's
    groups = (curve.concept.decode(), curve.images[0], at_stop, curve.images[-1], in_contexts)
    notes = {"at the stop": f"step {stop}", "at the full budget": f"step {curve.steps[-1]}"}
    return PictureRow(curve.concept.class_noun, dict(zip(COLUMNS, groups, strict=True)), notes)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/evaluate_miniature.py", description=__doc__)
    parts = [*PARTS, CURVES]
    add = parser.add_argument
    add("--weights", type=Path, help="folder of weights (default: the embedded ones)")
    add("--parts", nargs="+", choices=parts, default=parts, help="what to measure (default: all)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where to compute")
    add("--count", type=int, default=COUNT, help=f"held-out images (default {COUNT})")
    add("--steps", type=int, default=10, help="DDIM steps per sample (default 10)")
    add("--guidance", type=float, default=3.0, help="classifier-free guidance of samples (default 3)")
    add("--concepts", nargs="+", default=TUNING, help="concepts to learn (default: the tuning concepts)")
    add("--method", nargs="+", choices=RECIPES, default=["textual_inversion"], help="methods that learn them")
    add("--budget", type=int, help="steps per curve (default: the method's)")
    add("--workers", type=int, default=1, help="processes, each of which learns a curve at a time (default 1)")
    add("--samples", type=int, default=12, help="samples per snapshot (default 12)")
    add("--sheet", type=Path, help="write a picture of what was learned to this file")
    return parser


def main() -> None:
    """Parse the command line and measure."""
    command_line = parser()
    arguments = command_line.parse_args()
    if arguments.sheet and (CURVES not in arguments.parts or len(arguments.method) > 1):
        command_line.error(
            "--sheet shows what --parts curves has learned by one method; add that part, name one method"
        )
    quiet_libraries()
    samples = QualitySettings(
        samples=arguments.samples, inference_steps=arguments.steps, guidance_scale=arguments.guidance
    )
    try:
        measure(arguments, arguments.weights or miniature_folder(), samples)
    except InvalidInput as error:
        command_line.error(str(error))


def measure(arguments: argparse.Namespace, folder: Path, samples: QualitySettings) -> None:
    """Print every metric that the command line asks for, as soon as it is measured."""
    if parts := [part for part in PARTS if part in arguments.parts]:
        evaluator = WeightsEvaluator(folder, torch.device(arguments.device), arguments.count, samples)
        for part in parts:
            for metric in PARTS[part](evaluator):
                print(metric, flush=True)
    if CURVES in arguments.parts:
        for method in arguments.method:
            recipe = RECIPES[method]
            if arguments.budget:
                recipe = replace(recipe, budget=arguments.budget)
            measure_curves(Task(folder, arguments.device, method, recipe, samples), arguments)


def measure_curves(task: Task, arguments: argparse.Namespace) -> None:
    """Learn concepts by a method; print each curve and the metrics of all, and draw the sheet if it is wanted."""
    curves = []
    for curve in learn(task, arguments.concepts, arguments.workers):
        print(f"{task.method} {curve}", flush=True)
        curves.append(curve)
    for metric in (*learning_metrics(curves, task.method), *dvar_metrics(curves, task.method)):
        print(metric, flush=True)
    if arguments.sheet:
        sheet(curves).save(arguments.sheet)
        print(f"written to {arguments.sheet}", flush=True)


if __name__ == "__main__":
    main()
