"""The landscape as a picture: steps and quality over N and alpha, with the boundary of the feasible settings."""

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from orchestrator.recordings.recording import Floats
from orchestrator.replay.landscape import Landscape
from orchestrator.storage.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Characters of the widest letters of the title that fit across the picture.
TITLE_WIDTH = 90
PAPER, CHOSEN, FRONT = "#ffffff", "#ff5a36", "#111111"


def draw_landscape(
    landscape: Landscape,
    path: Path,
    *,
    target: float,
    default: tuple[float, float],
    chosen: tuple[float, float] | None,
    title: str,
) -> None:
    """Write a picture of a landscape to the PNG `path`; see `landscape_figure` for the other arguments."""
    figure = landscape_figure(landscape, target=target, default=default, chosen=chosen, title=title)
    with replacing(path) as file:
        figure.savefig(file, format="png")


def landscape_figure(
    landscape: Landscape,
    *,
    target: float,
    default: tuple[float, float],
    chosen: tuple[float, float] | None,
    title: str,
) -> "Figure":
    """Draw a landscape: steps on the left, quality kept on the right, over threshold and window.

    Args:
        landscape: to draw.
        target: share of the best quality to keep, 0..1; its boundary is drawn.
        default: window and threshold that were tried first.
        chosen: window and threshold of the best setting; None if another criterion is best.
        title: above both panels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    figure.suptitle(fill(title, TITLE_WIDTH), fontsize=11, parse_math=False)
    shares = 100 * landscape.iterations / landscape.budget
    _panel(figure, left, landscape, shares, "steps, % of the budget", "viridis_r")
    _panel(figure, right, landscape, 100 * landscape.quality_kept, f"% of the best {landscape.metric}", "cividis")
    left.set_ylabel("window N, steps")
    for axes in (left, right):
        _mark(axes, landscape, target, default, chosen)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def _mark(
    axes: "Axes",
    landscape: Landscape,
    target: float,
    default: tuple[float, float],
    chosen: tuple[float, float] | None,
) -> None:
    """Mark the boundary of what keeps enough, the front, and the settings that were tried first and chosen."""
    from matplotlib.patheffects import Normal, Stroke

    kept, front = landscape.quality_kept, landscape.front()
    rim = [Stroke(linewidth=2.6, foreground="black"), Normal()]  # legible on every colour of both scales
    if kept.min() < target <= kept.max():
        contour = axes.contour(landscape.thresholds, landscape.windows, kept, [target], colors=PAPER, linewidths=1.2)
        contour.set_path_effects(rim)
    axes.plot(
        [landscape.thresholds[column] for _, column in front],
        [landscape.windows[row] for row, _ in front],
        ".", color=FRONT, markersize=3, label="no setting is better in both",
    )  # fmt: skip
    axes.plot(*reversed(default), "D", color=PAPER, markeredgecolor="black", markersize=7, label="tried first")
    if chosen is not None:
        axes.plot(*reversed(chosen), "*", color=CHOSEN, markeredgecolor="black", markersize=14, label="chosen")
    axes.plot([], [], color=PAPER, linewidth=1.2, path_effects=rim, label=f"keeps {100 * target:.0f} %")


def _panel(figure: "Figure", axes: "Axes", landscape: Landscape, values: Floats, label: str, colours: str) -> None:
    mesh = axes.pcolormesh(landscape.thresholds, landscape.windows, values, cmap=colours, shading="nearest")
    axes.set_yscale("log")
    ticks = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
    ticks_shown = [tick for tick in ticks if landscape.windows[0] <= tick <= landscape.windows[-1]]
    axes.set_yticks(ticks_shown, [str(tick) for tick in ticks_shown])
    axes.minorticks_off()
    axes.set_xlabel("threshold alpha")
    axes.set_title(label, fontsize=10)
    figure.colorbar(mesh, ax=axes)
