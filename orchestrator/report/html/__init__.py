"""HTML: pages that are one file each, ask for nothing over the network, and open in any browser.

`landscape` writes the plane of N and alpha to explore; the page's own code lies in `landscape.html` beside it.
"""

from orchestrator.report.html.landscape import write_landscape_page

__all__ = ["write_landscape_page"]
