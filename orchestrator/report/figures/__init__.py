"""Figures: pictures that commands write, drawn by Matplotlib and Pillow.

`landscape` draws DVAR's plane of N and alpha, `demo` the concepts of a demonstration beside what was learned of them.
Matplotlib takes a second to import, and is only imported once something is drawn.
"""

from orchestrator.report.figures.demo import demo_picture
from orchestrator.report.figures.landscape import draw_landscape, landscape_figure

__all__ = ["demo_picture", "draw_landscape", "landscape_figure"]
