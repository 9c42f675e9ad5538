"""The landscape as a picture: steps and quality over N and alpha, with the boundary of the rule and what was chosen."""

from pathlib import Path
from typing import Any

from orchestrator.replay.landscape import Landscape

PAPER, CHOSEN, FRONT = "#ffffff", "#ff5a36", "#111111"


def draw_landscape(
    landscape: Landscape,
    path: Path,
    *,
    wanted: float,
    usual: tuple[float, float],
    chosen: tuple[float, float] | None,
    title: str,
) -> None:
    """Write a picture of a landscape.

    Args:
        landscape: to draw.
        path: of the PNG.
        wanted: share of the best quality whose boundary is drawn, 0..1.
        usual: window and threshold that were tried first.
        chosen: window and threshold of the best setting; None where another criterion is best.
        title: over both panels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    figure.suptitle(title, fontsize=11)
    shares = 100 * landscape.iterations / landscape.budget
    _panel(figure, left, landscape, shares, "steps, % of the budget", "viridis_r")
    _panel(figure, right, landscape, 100 * landscape.quality_kept, f"% of the best {landscape.metric}", "cividis")
    left.set_ylabel("window N, steps")
    front = landscape.front()
    for axes in (left, right):
        kept = landscape.quality_kept
        if kept.min() < wanted <= kept.max():
            axes.contour(landscape.thresholds, landscape.windows, kept, [wanted], colors="white", linewidths=1.2)
        axes.plot(
            [landscape.thresholds[column] for _, column in front],
            [landscape.windows[row] for row, _ in front],
            ".", color=FRONT, markersize=3, label="none is better in both",
        )  # fmt: skip
        axes.plot(*reversed(usual), "D", color=PAPER, markeredgecolor="black", markersize=7, label="tried first")
        if chosen is not None:
            axes.plot(*reversed(chosen), "*", color=CHOSEN, markeredgecolor="black", markersize=14, label="chosen")
        axes.plot([], [], color="0.6", linewidth=1.2, label=f"keeps {100 * wanted:.0f} %")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(path)


def _panel(figure: Any, axes: Any, landscape: Landscape, values: Any, label: str, colours: str) -> None:
    mesh = axes.pcolormesh(landscape.thresholds, landscape.windows, values, cmap=colours, shading="nearest")
    axes.set_yscale("log")
    ticks = [tick for tick in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if tick <= landscape.windows[-1]]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("threshold alpha")
    axes.set_title(label, fontsize=10)
    figure.colorbar(mesh, ax=axes)
