"""Draw criteria/pictures/line-law.png: DVAR stops at N / sqrt(alpha) on lines, and nearly so on recordings.

Run: python tests/benchmarks/draw_line_law.py
"""

import math
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from orchestrator.criteria import DVAR
from orchestrator.recordings.collection import by_method, read_place
from orchestrator.replay import Replayer

TARGET = Path(__file__).parents[2] / "orchestrator" / "criteria" / "pictures" / "line-law.png"
SLOPES, STEPS = (0.2, 0.5, 1.0), 1200
SHARES, THRESHOLDS = (0.1, 0.2, 0.3), (0.15, 0.3, 0.5, 0.8)


def draw_lines(axes: Axes) -> None:
    """Draw straight lines, and where DVAR stops each."""
    criterion, steps = DVAR(window=310, threshold=0.15), np.arange(1, STEPS + 1)
    for slope in SLOPES:
        series = 1 - slope * steps / STEPS
        stop = criterion.first_stop(series)
        assert stop is not None
        (line,) = axes.plot(steps, series)
        axes.plot([stop], [series[stop - 1]], "o", color=line.get_color())
    predicted = criterion.window / math.sqrt(criterion.threshold)
    axes.axvline(predicted, color="0.5", linestyle=":")
    axes.annotate(f"N / √alpha = {predicted:.0f}", (predicted + 15, 0.97), color="0.3")
    axes.set(title="DVAR(310, 0.15) on lines of three slopes", xlabel="step", ylabel="loss")


def draw_recordings(axes: Axes) -> None:
    """Draw the median stop over the shipped recordings of each method against N / sqrt(alpha)."""
    for method, recordings in by_method(read_place("builtin"), "builtin").items():
        budget, points = recordings[0].budget, []
        replayers = [Replayer(recording) for recording in recordings]
        for share in SHARES:
            for threshold in THRESHOLDS:
                criterion = DVAR(window=round(share * budget), threshold=threshold)
                stops = [replayer.replay(criterion).stop_step for replayer in replayers]
                points.append((criterion.window / math.sqrt(threshold) / budget, np.median(stops) / budget))
        axes.scatter(*zip(*points, strict=True), s=14, label=method.replace("_", " "))
    axes.plot([0, 1], [0, 1], color="0.5", linestyle=":")
    axes.set(
        xlim=(0, 1), ylim=(0, 1), xlabel="N / √alpha, share of the budget", ylabel="median stop, share of the budget"
    )
    axes.set_title("56 concepts of each method")
    axes.legend(fontsize=7, frameon=False)


def main() -> None:
    """Draw both."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    draw_lines(left)
    draw_recordings(right)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, dpi=90)
    print(f"written to {TARGET}")


if __name__ == "__main__":
    main()
