"""The outcomes that a criterion would have had on recorded runs, without training them again; no Ray, no torch.

Start with `replay(criterion, recording)`, which returns an `Outcome`; `Summary.of` averages outcomes over seeds and
concepts. `live_outcome` measures a live run in the same way, `landscape.survey` replays DVAR's whole plane, and `l_det`
derives cheaper evaluations of L_det from a recording.
"""

from orchestrator.replay.replay import Outcome, Summary, live_outcome, replay

__all__ = ["Outcome", "Summary", "live_outcome", "replay"]
