"""Measures the miniature on held-out scenes, captions and concepts: python tests/benchmarks/evaluate_miniature.py.

Every value is printed with its target; --parts chooses, --sheet draws what was learned. All of it takes an hour on two
cores.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from orchestrator.criteria.dvar import first_stops
from trainables.errors import InvalidInput
from trainables.miniature import curves, miniature_folder
from trainables.miniature.curves import TrainingCurve
from trainables.miniature.entries import TUNING
from trainables.miniature.evaluate import COUNT, WeightsEvaluator
from trainables.miniature.metrics import Metric
from trainables.miniature.recipes import RECIPES
from trainables.models.quiet import quiet_libraries
from trainables.quality.pictures import PictureRow, figure
from trainables.settings import QualitySettings

WINDOW_SHARES = [0.01 * share for share in range(1, 45)]  # of the budget; the paper's are 0.05 to 0.44
THRESHOLDS = [0.01 * hundredths for hundredths in range(1, 96)]
KEPT = 0.95


def curve_metrics(of_method: Sequence[TrainingCurve], method: str) -> Iterator[Metric]:
    """Measure what L_det tells of a method's curves; the targets are those of the miniature's own check."""

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    covered = mean([curve.covered for curve in of_method])
    yield Metric(f"{method}: share of the way to the real images' score", covered, 0.8)
    with_l_det = mean([curve.correlation(curve.l_det) for curve in of_method])
    yield Metric(f"{method}: correlation of L_det with the score", with_l_det, -0.7, is_ceiling=True)
    with_loss = abs(mean([curve.correlation(curve.train_loss) for curve in of_method]))
    yield Metric(f"{method}: correlation of the training loss, absolute", with_loss, 0.3, is_ceiling=True)
    window, threshold, share, kept = best_stop(of_method)
    name = f"{method}: DVAR(N={window}, alpha={threshold:g})"
    yield Metric(f"{name}: share of the budget", share, 0.4, is_ceiling=True)
    yield Metric(f"{name}: share of the best score", kept, KEPT)


def best_stop(of_method: Sequence[TrainingCurve]) -> tuple[int, float, float, float]:
    """Return the earliest of many DVAR settings that keeps 95 % of the best score, else the one that keeps most.

    Returns:
        Window, threshold, mean share of the budget, mean share of the best score.
    """
    budget = len(of_method[0].l_det)
    windows = sorted({max(2, round(share * budget)) for share in WINDOW_SHARES})
    stops = np.stack([stops_of(curve, windows, THRESHOLDS) for curve in of_method])
    settings = []
    for row, window in enumerate(windows):
        for column, threshold in enumerate(THRESHOLDS):
            pairs = list(zip(stops[:, row, column].tolist(), of_method, strict=True))
            share = sum(stop / budget for stop, _ in pairs) / len(pairs)
            kept = sum(curve.kept(stop) for stop, curve in pairs) / len(pairs)
            settings.append((window, threshold, share, kept))
    good = [setting for setting in settings if setting[3] >= KEPT]
    return min(good, key=lambda setting: setting[2]) if good else max(settings, key=lambda setting: setting[3])


def stops_of(curve: TrainingCurve, windows: Sequence[int], thresholds: Sequence[float]) -> np.ndarray:
    """Return where DVAR stops a curve, shape (windows, thresholds); its last step where it never does."""
    stops = first_stops(curve.l_det.numpy(), windows, thresholds)
    return np.where(stops == 0, len(curve.l_det), stops)


def sheet(of_method: Sequence[TrainingCurve]) -> Image.Image:
    """Draw per concept its images, samples before, at DVAR's stop and at the end, and samples of validation prompts."""
    window, threshold, _, _ = best_stop(of_method)
    columns = {"the concept": 4, "before": 3, "at the stop": 4, "at the full budget": 4, "new contexts, at the stop": 4}
    rows = []
    for curve in of_method:
        stop = int(stops_of(curve, [window], [threshold])[0, 0])
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


PARTS: dict[str, Callable[[WeightsEvaluator], Iterator[Metric]]] = {
    "vae": WeightsEvaluator.vae,
    "clip": WeightsEvaluator.clip,
    "identity": WeightsEvaluator.identity,
    "samples": WeightsEvaluator.text_to_image,
}
CURVES = "curves"


def main() -> None:
    """Parse the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = [*PARTS, CURVES]
    parser.add_argument("--weights", type=Path, help="folder of weights (default: the embedded ones)")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="what to measure (default: all)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where to compute")
    parser.add_argument("--count", type=int, default=COUNT, help=f"held-out images (default {COUNT})")
    parser.add_argument("--steps", type=int, default=10, help="DDIM steps of a sample (default 10)")
    parser.add_argument("--guidance", type=float, default=3.0, help="classifier-free guidance of samples (default 3)")
    parser.add_argument("--concepts", nargs="+", default=TUNING, help="to learn (default: the tuning ones)")
    parser.add_argument("--method", nargs="+", choices=RECIPES, default=["textual_inversion"], help="that learns them")
    parser.add_argument("--budget", type=int, help="steps of a curve (default: the method's)")
    parser.add_argument("--workers", type=int, default=1, help="curves at once, a process each (default 1)")
    parser.add_argument("--samples", type=int, default=12, help="samples of a snapshot (default 12)")
    parser.add_argument("--sheet", type=Path, help="write a picture of what was learned here")
    arguments = parser.parse_args()
    if arguments.sheet and (CURVES not in arguments.parts or len(arguments.method) > 1):
        parser.error("--sheet shows what --parts curves has learned by one method; add that part, name one method")
    quiet_libraries()
    try:
        _report(arguments)
    except InvalidInput as error:
        parser.error(str(error))


def _report(arguments: argparse.Namespace) -> None:
    def say(line: object) -> None:
        print(line, flush=True)

    settings = QualitySettings(
        samples=arguments.samples, inference_steps=arguments.steps, guidance_scale=arguments.guidance
    )
    folder = arguments.weights or miniature_folder()
    parts = [part for part in PARTS if part in arguments.parts]
    if parts:
        evaluator = WeightsEvaluator(folder, torch.device(arguments.device), arguments.count, settings)
        for part in parts:
            for metric in PARTS[part](evaluator):
                say(metric)
    if CURVES in arguments.parts:
        for method in arguments.method:
            _report_curves(method, arguments, folder, settings)


def _report_curves(method: str, arguments: argparse.Namespace, folder: Path, settings: QualitySettings) -> None:
    recipe = RECIPES[method]
    if arguments.budget:
        recipe = replace(recipe, budget=arguments.budget)
    task = curves.Task(folder, arguments.device, method, recipe, settings)
    done = []
    for curve in curves.learn(task, arguments.concepts, arguments.workers):
        print(f"{method} {curve}", flush=True)
        done.append(curve)
    for metric in curve_metrics(done, method):
        print(metric, flush=True)
    if arguments.sheet:
        sheet(done).save(arguments.sheet)
        print(f"written to {arguments.sheet}", flush=True)


if __name__ == "__main__":
    main()
