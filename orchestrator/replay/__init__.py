"""Recordings times criteria: how a stopping criterion would have done on a recorded run.

Start with `replay(criterion, recording)`, which returns an `Outcome`. `Summary.of(outcomes)` averages outcomes over
seeds and concepts, and `survey(recordings, metric)` replays DVAR over the whole plane of its two parameters.
"""

from orchestrator.replay.landscape import Landscape, survey
from orchestrator.replay.outcome import Outcome, Spread, Summary
from orchestrator.replay.replay import Replayer, live_outcome, replay

__all__ = ["Landscape", "Outcome", "Replayer", "Spread", "Summary", "live_outcome", "replay", "survey"]
